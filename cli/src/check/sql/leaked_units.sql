select h.order_id as subject,
    coalesce((select sum(l.quantity) from hold_line l where l.order_id = h.order_id), 0)
    || ' units still held, though inventory has heard of ' || t.kind as detail, h.order_id
from hold h join taken t on t.taker = 'inventory' and t.order_id = h.order_id
    and t.kind in ('OrderConfirmed', 'OrderRejected', 'OrderCancelled')
where h.state = 'HELD'
