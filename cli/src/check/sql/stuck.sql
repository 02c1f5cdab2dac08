select distinct order_id as subject, 'undecided, and there is nothing that it waits for' as detail, order_id
from waiting
where why is null and create_us < (select value from known where name = 'old_us')
