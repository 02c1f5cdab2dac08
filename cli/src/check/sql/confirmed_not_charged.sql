select o.order_id as subject, o.state || ', charged ' || coalesce(m.charged, 0) || ', refunded '
    || coalesce(m.refunded, 0) || ', to pay ' || (o.total_minor - o.refunded_minor) as detail, o.order_id
from orders o left join money m on m.order_id = o.order_id
where o.state in ('CONFIRMED', 'REFUNDED')
  and o.order_id not in (select order_id from base_order)
  and coalesce(m.charged, 0) - coalesce(m.refunded, 0) < o.total_minor - o.refunded_minor
