-- Holds a new request while no node can take it, in steps of 10 ms and for one second at most: HAProxy answers 503 at once
-- where a backend has no server up, and can't retry that.
core.register_action("hold_for_node", {"http-req"}, function(txn)
  for _ = 1, 100 do
    if txn.f:nbsrv("fasttree") > 0 then
      return
    end
    core.msleep(10)
  end
end)
