-- Take the candidate of the attempt under way back now, or a revision on probation.
local os = require("os")
-- Who asks is Argo CD's own account, which is the one the API server sees; who pressed the button is in Argo CD's log.
local by = "system:serviceaccount:argocd:argocd-server"
local status = obj.status or {}
local attempt, probation = status.attempt or {}, status.probation or {}
local id, state = attempt.id or "none", attempt.state
-- What is on probation may be of an earlier attempt than one that was tried since, and has ended.
if (state == "Promoted" or state == "RolledBack" or state == "Failed") and probation.attempt ~= nil then
  id = probation.attempt
end
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["werkbank.dev/request"] =
  "abort/" .. id .. "/" .. "-" .. "/argocd-" .. tostring(os.time()) .. "/" .. by
return obj
