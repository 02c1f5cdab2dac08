select o.order_id as subject,
    o.state || ', charged ' || m.charged_before || ', refunded ' || m.refunded as detail, o.order_id
from orders o join money m on m.order_id = o.order_id join money_is_settled s on s.order_id = o.order_id
where o.state = 'REJECTED' and m.charged_before > m.refunded
  and exists (select 1 from taken t where t.order_id = o.order_id and t.taker = 'payments' and t.kind = 'OrderRejected')
