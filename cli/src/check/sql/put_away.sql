-- After a check that found nothing: what is at its end everywhere is put away, so that the next check looks at what
-- happened since and at what is still open. What is left of it are sums and the last numbers.
drop table if exists settled;
create temp table settled as
select o.order_id, o.state from orders o
left join payment p on p.order_id = o.order_id
left join hold h on h.order_id = o.order_id
where o.state <> 'PENDING' and o.update_us < (select value from known where name = 'old_us')
  and (p.state is null or p.state in ('CAPTURED', 'DECLINED', 'CANCELLED', 'REFUNDED'))
  and coalesce(h.state, '') <> 'HELD'
  and not exists (select 1 from due d where d.order_id = o.order_id)
  and not exists (select 1 from dead_letter d where d.order_id = o.order_id)
  and not exists (select 1 from delivery d where d.order_id = o.order_id and d.state = 'PENDING')
  and not exists (select 1 from event e join listens l on l.source = e.role
      where e.order_id = o.order_id and not exists (
          select 1 from inbox_mark m where m.role = l.taker and m.source = e.role and m.incarnation = e.incarnation
              and m.partition = e.partition and m.number >= e.number));
create unique index temp.settled_order on settled (order_id);

-- Stock: the sums after everything that was gathered, and what of it is confirmed and put away.
insert into base_stock (shop, sku, received, available, held, sold, confirmed)
select r.shop, r.sku, r.received, r.available, r.held, r.sold, 0 from running r
where (r.outbox_id, r.seq) = (select x.outbox_id, x.seq from running x where x.shop = r.shop and x.sku = r.sku
    order by x.outbox_id desc, x.seq desc limit 1)
on conflict (shop, sku) do update set received = excluded.received, available = excluded.available,
    held = excluded.held, sold = excluded.sold;
update base_stock set confirmed = confirmed + coalesce((
    select sum(l.quantity) from settled s join placed p on p.order_id = s.order_id
    join placed_line l on l.order_id = s.order_id
    where s.state = 'CONFIRMED' and p.shop = base_stock.shop and l.sku = base_stock.sku), 0);
-- How far everything was read. What was read last may have been put away by now, while something older is still open: what
-- is there now says only how far it was read at least.
insert into known (name, value)
select 'moved_to', max(id) from batch where role = 'inventory' having count(*) > 0
on conflict (name) do update set value = max(value, excluded.value);
insert into known (name, value)
select 'outbox ' || ledger, coalesce(min(case when number is null then id - 1 end), max(id)) from batch
where true group by ledger
on conflict (name) do update set value = max(value, excluded.value);
insert into known (name, value)
select 'stream ' || stream, max(seq) from stream_message where true group by stream
on conflict (name) do update set value = max(value, excluded.value);
insert into known (name, value) select 'attempt', max(id) from attempt where true having count(*) > 0
on conflict (name) do update set value = max(value, excluded.value);

-- Numbers that every listener has heard and that were gathered. They do not go back either.
insert into base_number (role, incarnation, partition, number)
select role, incarnation, partition, least from (
    select b.role, b.incarnation, b.partition, min(max(b.last, 0), coalesce((
        select min(coalesce((select m.number from inbox_mark m where m.role = l.taker and m.source = b.role
            and m.incarnation = b.incarnation and m.partition = b.partition), 0))
        from listens l where l.source = b.role), b.last)) as least
    from (select role, incarnation, partition, max(number) as last from batch where number is not null
        group by role, incarnation, partition) b)
where least > 0
on conflict (role, incarnation, partition) do update set number = max(number, excluded.number);

-- What belongs to settled orders, and what belonged to none.
delete from event where order_id in (select order_id from settled);
delete from event where order_id is null and kind not in ('FlowPaused', 'FlowResumed') and number <= (
    select n.number from base_number n where n.role = event.role and n.incarnation = event.incarnation
        and n.partition = event.partition)
    and (role <> 'inventory' or outbox_id <= (select value from known where name = 'moved_to'));
delete from orders where order_id in (select order_id from settled);
delete from history where order_id in (select order_id from settled);
delete from hold where order_id in (select order_id from settled);
delete from hold_line where order_id in (select order_id from settled);
delete from payment where order_id in (select order_id from settled);
delete from answer where order_id in (select order_id from settled);
delete from delivery where order_id in (select order_id from settled);
delete from intake where order_id in (select order_id from settled);
delete from placed where order_id in (select order_id from settled);
delete from placed_line where order_id in (select order_id from settled);
delete from short_line where order_id in (select order_id from settled);
delete from attempt where order_id in (select order_id from settled);
delete from base_order;
delete from stream_message where number <= (select n.number from base_number n where n.role = stream_message.role
    and n.incarnation = stream_message.incarnation and n.partition = stream_message.partition);
-- A batch and its entry stay as long as an event of theirs does.
delete from batch where number <= (select n.number from base_number n where n.role = batch.role
        and n.incarnation = batch.incarnation and n.partition = batch.partition)
    and not exists (select 1 from event e where e.ledger = batch.ledger and e.outbox_id = batch.id);
delete from entry where not exists (select 1 from batch b where b.role = entry.source
    and b.incarnation = entry.incarnation and b.partition = entry.partition and b.number = entry.number);
delete from entry_event where not exists (
    select 1 from entry e where e.ledger = entry_event.ledger and e.position = entry_event.position);
drop table settled;
