with moved as (
    select s.shop, s.sku,
        coalesce(b.received, 0) + coalesce(sum(m.received), 0) as received,
        coalesce(b.available, 0) + coalesce(sum(m.available), 0) as available,
        coalesce(b.held, 0) + coalesce(sum(m.held), 0) as held,
        coalesce(b.sold, 0) + coalesce(sum(m.sold), 0) as sold
    from stock s left join base_stock b on b.shop = s.shop and b.sku = s.sku
    left join move m on m.shop = s.shop and m.sku = s.sku and m.outbox_id <= s.as_of
    group by s.shop, s.sku)
select 'sku ' || s.sku as subject,
    'received, available, held, sold: ' || s.received || ', ' || s.available || ', ' || s.held || ', ' || s.sold
    || ' by its row, ' || m.received || ', ' || m.available || ', ' || m.held || ', ' || m.sold || ' by what moved'
    as detail, null as order_id
from stock s join moved m on m.shop = s.shop and m.sku = s.sku
where (s.received, s.available, s.held, s.sold) <> (m.received, m.available, m.held, m.sold)
   or s.available + s.held + s.sold <> s.received
union all
select distinct 'sku ' || m.sku, 'units moved, and it has no row', null
from move m
where not exists (select 1 from stock s where s.shop = m.shop and s.sku = m.sku)
