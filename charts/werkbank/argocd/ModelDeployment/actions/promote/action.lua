-- All traffic to the candidate now, if every metric says Pass.
local os = require("os")
-- Who asks is Argo CD's own account, which is the one the API server sees; who pressed the button is in Argo CD's log.
local by = "system:serviceaccount:argocd:argocd-server"
local attempt = (obj.status or {}).attempt or {}
local step = attempt.step
if step == nil then step = "-" end
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["werkbank.dev/request"] =
  "promote/" .. (attempt.id or "none") .. "/" .. tostring(step) .. "/argocd-" .. tostring(os.time()) .. "/" .. by
return obj
