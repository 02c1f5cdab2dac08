with confirmed as (
    select p.shop, l.sku, sum(l.quantity) as quantity
    from orders o join placed p on p.order_id = o.order_id join placed_line l on l.order_id = o.order_id
    where o.state = 'CONFIRMED'
    group by p.shop, l.sku)
select 'sku ' || c.sku as subject,
    'confirmed ' || (c.quantity + coalesce(b.confirmed, 0)) || ', sold or held ' || coalesce(s.sold + s.held, 0)
    || ', received ' || coalesce(s.received, 0) as detail, null as order_id
from confirmed c left join stock s on s.shop = c.shop and s.sku = c.sku
left join base_stock b on b.shop = c.shop and b.sku = c.sku
where c.quantity + coalesce(b.confirmed, 0) > coalesce(s.received, 0)
   or c.quantity + coalesce(b.confirmed, 0) > coalesce(s.sold + s.held, 0)
