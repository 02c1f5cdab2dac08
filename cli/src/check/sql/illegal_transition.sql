select o.order_id as subject, 'version ' || o.version || ' with ' || count(h.version) || ' events up to it' as detail,
    o.order_id
from orders o left join history h on h.order_id = o.order_id and h.version between 1 and o.version
group by o.order_id having count(h.version) <> o.version
union all
select order_id, 'it ended ' || count(*) || ' times', order_id
from history where kind in ('OrderConfirmed', 'OrderRejected', 'OrderCancelled')
group by order_id having count(*) > 1
union all
select h.order_id, h.kind || ' in version ' || h.version || ' without a ground before it', h.order_id
from history h
where h.kind = 'OrderConfirmed' and not exists (select 1 from history b
    where b.order_id = h.order_id and b.version < h.version and b.kind = 'PaymentCaptured')
union all
select h.order_id, h.kind || ' in version ' || h.version || ' without a ground before it', h.order_id
from history h
where h.kind = 'OrderRejected' and not exists (select 1 from history b
    where b.order_id = h.order_id and b.version < h.version and b.kind in ('StockRefused', 'PaymentDeclined'))
union all
select h.order_id, h.kind || ' in version ' || h.version || ' before OrderPlaced', h.order_id
from history h
where h.kind in ('OrderConfirmed', 'OrderRejected') and not exists (select 1 from history b
    where b.order_id = h.order_id and b.version < h.version and b.kind = 'OrderPlaced')
union all
select a.order_id, a.kind || ' and ' || b.kind, a.order_id
from history a join history b on b.order_id = a.order_id
where (a.kind = 'StockHeld' and b.kind = 'StockRefused') or (a.kind = 'PaymentCaptured' and b.kind = 'PaymentDeclined')
