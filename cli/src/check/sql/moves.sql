-- Units as inventory's events move them, and the sums after each: made anew from what was gathered.
delete from move;
delete from running;
insert into move (shop, sku, outbox_id, seq, order_id, kind, received, available, held, sold)
select e.shop, l.sku, e.outbox_id, e.seq, e.order_id, e.kind, 0,
    case e.kind when 'StockHeld' then -l.quantity when 'StockReleased' then l.quantity else 0 end,
    case e.kind when 'StockHeld' then l.quantity else -l.quantity end,
    case e.kind when 'StockCommitted' then l.quantity else 0 end
from event e join placed_line l on l.order_id = e.order_id
where e.role = 'inventory' and e.kind in ('StockHeld', 'StockReleased', 'StockCommitted')
  and e.outbox_id > coalesce((select value from known where name = 'moved_to'), 0)
union all
select e.shop, e.sku, e.outbox_id, e.seq, null, e.kind, e.minor, e.minor, 0, 0
from event e
where e.role = 'inventory' and e.kind = 'StockAdjusted'
  and e.outbox_id > coalesce((select value from known where name = 'moved_to'), 0);
insert into running (shop, sku, outbox_id, seq, order_id, kind, received, available, held, sold)
select m.shop, m.sku, m.outbox_id, m.seq, m.order_id, m.kind,
    coalesce(b.received, 0) + sum(m.received) over so_far, coalesce(b.available, 0) + sum(m.available) over so_far,
    coalesce(b.held, 0) + sum(m.held) over so_far, coalesce(b.sold, 0) + sum(m.sold) over so_far
from move m left join base_stock b on b.shop = m.shop and b.sku = m.sku
window so_far as (partition by m.shop, m.sku order by m.outbox_id, m.seq rows unbounded preceding);
