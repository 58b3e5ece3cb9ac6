-- All traffic to the candidate now, if every metric says Pass. On probation: wait no longer.
local os = require("os")
-- Who asks is Argo CD's own account, which is the one the API server sees; who pressed the button is in Argo CD's log.
local by = "system:serviceaccount:argocd:argocd-server"
local status = obj.status or {}
local attempt, probation = status.attempt or {}, status.probation or {}
local id, step, state = attempt.id or "none", attempt.step, attempt.state
-- What is on probation may be of an earlier attempt than one that was tried since, and has ended.
if (state == "Promoted" or state == "RolledBack" or state == "Failed") and probation.attempt ~= nil then
  id, step = probation.attempt, nil
end
if step == nil then step = "-" end
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["werkbank.dev/request"] =
  "promote/" .. id .. "/" .. tostring(step) .. "/argocd-" .. tostring(os.time()) .. "/" .. by
return obj
