-- Which requests make sense now. The operator judges them again when it gets them, and says why it refuses one.
local status = obj.status or {}
local attempt = status.attempt or {}
local state = attempt.state
local ended = state == nil or state == "Promoted" or state == "RolledBack" or state == "Failed"
local goes_up = not ended and state ~= "RollingBack"
local paused = attempt.pausedSince ~= nil
local held = paused or attempt.suspendedSince ~= nil
local taken_back = state == "RolledBack" or state == "Failed" or (state == "Promoted" and next(status.takenBack or {}) ~= nil)
local watched = attempt.observingSince ~= nil and (state == "Observing" or state == "Starting")
local probation = status.probation or {}
-- Also of an earlier attempt, if one that was tried since has ended: the buttons are for that then.
local open = ended and state ~= nil and probation.attempt ~= nil and probation.recall == nil
local on_probation = open and (state == "Promoted" or probation.attempt ~= attempt.id)
return {
  abort = { disabled = not goes_up and not on_probation, iconClass = "fa fa-fw fa-undo" },
  pause = { disabled = not goes_up or paused, iconClass = "fa fa-fw fa-pause" },
  resume = { disabled = not goes_up or not paused, iconClass = "fa fa-fw fa-play" },
  promote = { disabled = (not watched or held) and not on_probation, iconClass = "fa fa-fw fa-fast-forward" },
  retry = { disabled = not taken_back, iconClass = "fa fa-fw fa-redo" },
}
