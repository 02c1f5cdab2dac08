select o.order_id as subject, o.state || ' by its row, ' || coalesce(h.kind, 'no end') || ' by its history' as detail,
    o.order_id
from orders o left join history h on h.order_id = o.order_id and h.version <= o.version
    and h.kind in ('OrderConfirmed', 'OrderRejected', 'OrderCancelled')
where case o.state when 'REFUNDED' then 'CONFIRMED' else o.state end <> case h.kind
    when 'OrderConfirmed' then 'CONFIRMED' when 'OrderRejected' then 'REJECTED'
    when 'OrderCancelled' then 'CANCELLED' else 'PENDING' end
union all
select o.order_id, o.state || ' by its row, and ' || e.kind || ' was said', o.order_id
from orders o join ended e on e.order_id = o.order_id and e.ledger = o.ledger and e.outbox_id <= o.as_of
where case o.state when 'REFUNDED' then 'CONFIRMED' else o.state end <> case e.kind
    when 'OrderConfirmed' then 'CONFIRMED' when 'OrderRejected' then 'REJECTED' else 'CANCELLED' end
union all
select o.order_id, o.state || ', and nobody was told', o.order_id
from orders o
where o.state <> 'PENDING' and not exists (select 1 from ended e where e.order_id = o.order_id)
  and o.order_id not in (select order_id from base_order)
union all
select o.order_id, 'another customer or total than was placed', o.order_id
from orders o join placed p on p.order_id = o.order_id
where o.placed_version > 0
  and (o.total_minor <> p.total_minor or o.currency <> p.currency or o.customer_id <> p.customer_id)
union all
select h.order_id, h.kind || ' in version ' || h.version || ' is not what was said', h.order_id
from history h left join event e on e.event_id = h.event_id
where (e.event_id is null or e.sha <> h.sha) and h.order_id not in (select order_id from base_order)
