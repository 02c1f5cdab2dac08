-- What the checker works on: one table for each evidence, with the ledger it comes from and how far that ledger's
-- outbox was in the same view (as_of); then what is read out of events, streams, provider, mail and history.

create table ledger (role text, ledger text, as_of integer, one integer, name text, incarnation blob, partitions integer,
    created_us integer, primary key (ledger, one));
create table head (role text, ledger text, as_of integer, incarnation blob, partition integer, number integer,
    relayed integer, primary key (ledger, incarnation, partition));
create table inbox_mark (role text, ledger text, as_of integer, source text, incarnation blob, partition integer,
    number integer, time_us integer, primary key (ledger, source, incarnation, partition));
create table due (role text, ledger text, as_of integer, kind text, key blob, due_us integer, attempt integer,
    order_id blob generated always as (substr(key, 1, 16)) stored, primary key (ledger, kind, key));
create index due_order on due (order_id);
create table dead_letter (role text, ledger text, as_of integer, id blob, source text, incarnation blob,
    partition integer, number integer, cause text, fingerprint text, body blob, count integer, first_us integer,
    last_us integer, state text, event_id blob, order_id blob, primary key (ledger, id));
create index dead_letter_event on dead_letter (event_id);
create index dead_letter_order on dead_letter (order_id);
create table intake (role text, ledger text, as_of integer, shop text, request_id blob, order_id blob, fingerprint blob,
    create_us integer, primary key (ledger, shop, request_id));
create index intake_order on intake (order_id);
create index intake_request on intake (shop, request_id);
create table orders (role text, ledger text, as_of integer, order_id blob, shop text, customer_id text, state text,
    reason text, version integer, placed_version integer, create_us integer, update_us integer, deferred_us integer,
    total_minor integer, currency text, refunded_minor integer, has_contact integer, primary key (order_id));
create index orders_customer on orders (customer_id);
create table history (ledger text, order_id blob, version integer, event_id blob, kind text, sha blob,
    primary key (order_id, version)) without rowid;
create index history_event on history (event_id);
create table stock (role text, ledger text, as_of integer, shop text, sku text, received integer, available integer,
    held integer, sold integer, update_us integer, primary key (shop, sku));
create table hold (role text, ledger text, as_of integer, order_id blob, shop text, state text, lines blob,
    create_us integer, update_us integer, primary key (order_id));
create table hold_line (order_id blob, sku text, quantity integer);
create index hold_line_order on hold_line (order_id);
create table payment (role text, ledger text, as_of integer, order_id blob, shop text, state text, ended_us integer,
    amount_minor integer, currency text, attempt integer, provider_reference text, reason text, sent_us integer,
    captured_minor integer, refunded_minor integer, create_us integer, update_us integer, primary key (order_id));
create table answer (role text, ledger text, as_of integer, order_id blob, charge_id blob, outcome text,
    provider_reference text, amount_minor integer, currency text, code text, answer_us integer,
    primary key (order_id, charge_id, outcome, provider_reference));
create table delivery (role text, ledger text, as_of integer, order_id blob, event_id blob, channel text, shop text,
    kind text, state text, attempt integer, told_us integer, ended_us integer, primary key (order_id, event_id, channel));
create index delivery_event on delivery (event_id);

-- Every batch of every outbox, and its events.
create table batch (role text, ledger text, id integer, incarnation blob, partition integer, number integer,
    events integer, time_us integer, body_sha blob, events_sha blob, primary key (ledger, id));
create index batch_number on batch (role, incarnation, partition, number);
create table event (role text, ledger text, outbox_id integer, incarnation blob, partition integer, number integer,
    seq integer, event_id blob, kind text, order_id blob, sku text, shop text, time_us integer, sha blob,
    minor integer, currency text, reference text, has_contact integer, primary key (ledger, outbox_id, seq));
create index event_event on event (event_id);
create index event_order on event (order_id, kind);
create index event_number on event (role, incarnation, partition, number);
create index event_kind on event (kind);
-- What OrderPlaced says; the units in its lines; the lines that inventory could not hold.
create table placed (order_id blob primary key, shop text, request_id blob, customer_id text, total_minor integer,
    currency text);
create index placed_request on placed (shop, request_id);
create table placed_line (order_id blob, sku text, quantity integer);
create index placed_line_order on placed_line (order_id);
create table short_line (order_id blob, sku text, wanted integer, available integer);
-- Units as inventory's events move them, in the order of its commits; made of the tables above.
create table move (shop text, sku text, outbox_id integer, seq integer, order_id blob, kind text, received integer,
    available integer, held integer, sold integer);
create index move_sku on move (shop, sku, outbox_id, seq);
create index move_order on move (order_id);
-- Sums after each move.
create table running (shop text, sku text, outbox_id integer, seq integer, order_id blob, kind text, received integer,
    available integer, held integer, sold integer);
create index running_sku on running (shop, sku, outbox_id, seq);

create table entry (ledger text, position integer, source text, incarnation blob, partition integer, number integer,
    events_sha blob, primary key (ledger, position));
create index entry_number on entry (source, incarnation, partition, number);
create table entry_event (ledger text, position integer, seq integer, event_id blob, primary key (ledger, position, seq));
create index entry_event_id on entry_event (event_id);
create table chain_problem (ledger text, position integer, problem text);

create table stream_message (stream text, seq integer, role text, incarnation blob, partition integer, number integer,
    body_sha blob, primary key (stream, seq));
-- `look` is 0 for what was there before the ledgers were read, and 1 for what came to be seen after them.
create table attempt (id integer primary key, time_ms integer, idempotency_key text, reference text, order_id blob,
    kind text, status text, effect integer, answered integer, amount integer, currency text, look integer);
create index attempt_order on attempt (order_id);
create table mail (file text primary key, message_id text, event_id blob, look integer);
create index mail_event on mail (event_id);
create table call (line integer primary key, call text, process text, shop text, op text, request_id blob, req_sha blob,
    invoke_us integer, complete_us integer, outcome text, code text, order_id blob, version integer, attempts integer);
create index call_request on call (shop, request_id);
create index call_order on call (order_id);

-- What earlier checks found in order and put away (see put_away.sql): nothing, unless this is one of a series.
create table base_stock (shop text, sku text, received integer, available integer, held integer, sold integer,
    confirmed integer, primary key (shop, sku));
create table base_number (role text, incarnation blob, partition integer, number integer,
    primary key (role, incarnation, partition));
-- Orders of which something new was said or done after they were put away.
create table base_order (order_id blob primary key);
-- Which kinds of events leave a trace with whom.
create table hears (taker text, source text, kind text, primary key (taker, kind));
insert into hears values ('orders', 'gateway', 'OrderPlaced'), ('orders', 'inventory', 'StockHeld'),
    ('orders', 'inventory', 'StockRefused'), ('orders', 'payments', 'PaymentCaptured'),
    ('orders', 'payments', 'PaymentDeclined'), ('orders', 'payments', 'PaymentDeferred'),
    ('orders', 'payments', 'PaymentRefunded'), ('orders', 'payments', 'RefundFailed'),
    ('inventory', 'gateway', 'OrderPlaced'), ('payments', 'inventory', 'StockHeld'),
    ('payments', 'orders', 'OrderRejected'), ('payments', 'orders', 'OrderCancelled');
-- Who listens to whom.
create table listens (taker text, source text, primary key (taker, source));
create table cursor (name text primary key, value blob);
create table known (name text primary key, value integer);

-- An event that a listener has heard and did not put among its dead letters, as of the marks, which were read first.
create view taken as
    select m.role as taker, e.* from event e
    join inbox_mark m on m.source = e.role and m.incarnation = e.incarnation and m.partition = e.partition
        and e.number <= m.number
    where not exists (select 1 from dead_letter d where d.role = m.role and d.event_id = e.event_id
          and d.state <> 'REDRIVEN')
      and not exists (select 1 from dead_letter d where d.role = m.role and d.event_id is null and d.source = e.role
          and d.incarnation = e.incarnation and d.partition = e.partition and d.number = e.number);

-- How orders said that an order ended.
create view ended as
    select * from event where role = 'orders' and kind in ('OrderConfirmed', 'OrderRejected', 'OrderCancelled');

-- What the provider moved for an order: seen before the ledgers were read, and in all.
create view money as
    select order_id,
        sum(kind = 'charge' and effect and look = 0) as charges_before,
        sum(case when kind = 'charge' and effect and look = 0 then amount else 0 end) as charged_before,
        sum(kind = 'charge' and effect) as charges,
        sum(case when kind = 'charge' and effect then amount else 0 end) as charged,
        sum(case when kind = 'refund' and effect then amount else 0 end) as refunded
    from attempt group by order_id;

-- Payments that wait for nothing: neither open nor parked, and no call or look is due.
create view money_is_settled as
    select o.order_id from orders o
    left join payment p on p.order_id = o.order_id
    where (p.state is null or p.state in ('CAPTURED', 'DECLINED', 'CANCELLED', 'REFUNDED'))
      and not exists (select 1 from due d where d.order_id = o.order_id and d.role = 'payments')
      and not exists (select 1 from dead_letter d where d.order_id = o.order_id and d.role = 'payments');

-- Kinds of work that operators stopped, as the ledgers tell it.
create view paused as
    select e.role, e.reference as flow from event e
    where e.kind = 'FlowPaused' and not exists (
        select 1 from event r where r.role = e.role and r.ledger = e.ledger and r.reference = e.reference
            and r.kind = 'FlowResumed' and r.outbox_id > e.outbox_id);

-- Undecided orders, each with the reason for which it waits; none where there is no reason. The time before which
-- something is too old is `known.old_us`.
create view waiting as
    select o.order_id, o.create_us, o.ledger, case
        when p.state = 'PARKED' then 'parked for a human: ' || coalesce(p.reason, '')
        when exists (select 1 from dead_letter d where d.order_id = o.order_id and d.state <> 'REDRIVEN') then 'dead letter'
        -- Set aside: a dead letter of due work, whose bytes do not tell of which order.
        when d.due_us >= 253370764800000000 then 'dead letter'
        when p.order_id is not null and exists (select 1 from paused where flow = 'payments') then 'payments are paused'
        when d.key is not null and (o.deferred_us is not null or exists (
            select 1 from event e where e.order_id = o.order_id and e.kind = 'PaymentDeferred'))
            then 'the provider cannot be reached'
        when d.key is not null and p.state in ('UNKNOWN', 'PENDING') then 'the provider has not told the outcome'
        when d.due_us > (select value from known where name = 'old_us') then 'the provider is asked again'
        -- It is overdue, and payments is at work, and has not passed it over: what became due half a minute later is open too.
        when d.key is not null and exists (select 1 from payment y where y.ledger = p.ledger
                and y.update_us > (select value from known where name = 'old_us'))
            and not exists (select 1 from payment y where y.ledger = p.ledger and y.create_us > d.due_us + 30000000
                and y.state <> 'CHARGING') then 'payments has older work before it'
        when exists (select 1 from event e where e.order_id = o.order_id
            and e.kind in (select kind from hears where taker = 'orders') and not exists (
                select 1 from taken t where t.taker = 'orders' and t.event_id = e.event_id))
            then 'orders has not heard all of it'
        when exists (select 1 from event e where e.order_id = o.order_id and e.kind = 'OrderPlaced' and not exists (
                select 1 from taken t where t.taker = 'inventory' and t.event_id = e.event_id))
            then 'inventory has not heard of it'
        when exists (select 1 from event e where e.order_id = o.order_id and e.kind = 'StockHeld' and not exists (
                select 1 from taken t where t.taker = 'payments' and t.event_id = e.event_id))
            then 'payments has not heard of it'
    end as why
    from orders o
    left join payment p on p.order_id = o.order_id
    left join due d on d.role = 'payments' and d.order_id = o.order_id
    where o.state = 'PENDING';
