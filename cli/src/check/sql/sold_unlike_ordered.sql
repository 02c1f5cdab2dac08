select t.order_id as subject, 'confirmed, and its units are ' || coalesce(h.state, 'not there') as detail, t.order_id
from taken t left join hold h on h.order_id = t.order_id
where t.taker = 'inventory' and t.kind = 'OrderConfirmed' and coalesce(h.state, '') <> 'SOLD'
union all
select h.order_id, 'sold, and never confirmed', h.order_id
from hold h
where h.state = 'SOLD' and not exists (select 1 from ended e where e.order_id = h.order_id and e.kind = 'OrderConfirmed')
  and h.order_id not in (select order_id from base_order)
union all
select h.order_id, 'other units than were ordered', h.order_id
from hold h join placed p on p.order_id = h.order_id
where h.state in ('HELD', 'SOLD', 'RELEASED') and (
    exists (select sku, quantity from placed_line where order_id = h.order_id
        except select sku, quantity from hold_line where order_id = h.order_id)
    or exists (select sku, quantity from hold_line where order_id = h.order_id
        except select sku, quantity from placed_line where order_id = h.order_id))
union all
select h.order_id, h.state || ' by its row, and inventory said ' || e.kind, h.order_id
from hold h join event e on e.order_id = h.order_id and e.role = 'inventory' and e.outbox_id <= h.as_of
where (e.kind = 'StockCommitted' and h.state <> 'SOLD') or (e.kind = 'StockReleased' and h.state <> 'RELEASED')
   or (e.kind = 'StockRefused' and h.state <> 'REFUSED')
