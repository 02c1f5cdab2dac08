with refused as (
    select e.order_id, l.sku, l.quantity, coalesce((
        select r.available from running r
        where r.shop = e.shop and r.sku = l.sku and (r.outbox_id, r.seq) < (e.outbox_id, e.seq)
        order by r.outbox_id desc, r.seq desc limit 1),
        (select b.available from base_stock b where b.shop = e.shop and b.sku = l.sku), 0) as available
    from event e join placed_line l on l.order_id = e.order_id
    where e.role = 'inventory' and e.kind = 'StockRefused')
select r.order_id as subject, 'refused as out of stock, and every line was there' as detail, r.order_id
from refused r
where not exists (select 1 from ended e where e.order_id = r.order_id and e.kind = 'OrderCancelled')
group by r.order_id having min(r.available >= r.quantity) = 1
