-- Health of a ModelDeployment. Its conditions are the contract; a phase is a summary for people.
local status = obj.status or {}
local generation = obj.metadata.generation
if generation == nil or status.observedGeneration ~= generation then
  return { status = "Progressing", message = "the operator has not looked at this generation yet" }
end
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end
local ready, stalled = conditions.Ready or {}, conditions.Stalled or {}
-- After a rollback, too: the old revision serves, and what Git asks for does not.
if stalled.status == "True" then
  return { status = "Degraded", message = ready.message or stalled.message }
end
if ready.status == "True" then
  return { status = "Healthy", message = ready.message }
end
-- A person holds it, or is asked.
if ready.reason == "Paused" or ready.reason == "Suspended" or ready.reason == "AwaitingApproval" then
  return { status = "Suspended", message = ready.message }
end
return { status = "Progressing", message = ready.message or "no condition Ready yet" }
