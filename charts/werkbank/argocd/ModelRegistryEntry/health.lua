-- Health of a ModelRegistryEntry: its conditions are the contract.
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
if stalled.status == "True" then
  return { status = "Degraded", message = stalled.message }
end
if ready.status == "True" then
  return { status = "Healthy", message = ready.message }
end
-- A person is asked.
if ready.reason == "AwaitingApproval" then
  return { status = "Suspended", message = ready.message }
end
return { status = "Progressing", message = ready.message or "no condition Ready yet" }
