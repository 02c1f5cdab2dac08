select c.order_id as subject, 'read as not there after it was accepted' as detail, c.order_id
from call c join call p on p.order_id = c.order_id and p.op = 'place' and p.outcome = 'ok'
    and p.complete_us < c.invoke_us
where c.op <> 'place' and c.code = 'NOT_FOUND'
union all
select later.order_id, 'version ' || later.version || ' was read after version ' || before.version, later.order_id
from call before join call later on later.order_id = before.order_id and before.complete_us < later.invoke_us
where before.version > later.version
