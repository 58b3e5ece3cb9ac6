-- Hold the weight of the attempt under way.
local os = require("os")
-- Who asks is Argo CD's own account, which is the one the API server sees; who pressed the button is in Argo CD's log.
local by = "system:serviceaccount:argocd:argocd-server"
local attempt = (obj.status or {}).attempt or {}
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["werkbank.dev/request"] =
  "pause/" .. (attempt.id or "none") .. "/" .. "-" .. "/argocd-" .. tostring(os.time()) .. "/" .. by
return obj
