-- A batch of inbound messages, from any number of calls and channels, in one round trip and one commit.
-- Measured against one ORM session per message in docs/decisions/0003; the shapes of `p_item` are in ingest.py.
--
-- Arrays run in parallel: per call p_journal and p_bodies; per message the rest (p_call points to its call, from 1).
-- Answers a row per message: stored | duplicate | slow (its conversation has to change state first: the caller's
-- verbs do that and call again) | retry (it was closed while we waited for it: call again).
--
-- Locks are taken in one order, so that batches never wait in a circle: identities by key, open conversations by
-- identity, conversation rows by id. Each statement sees what the one we waited for has committed.
CREATE OR REPLACE FUNCTION ingest_v1(
    p_journal jsonb[], p_bodies bytea[],
    p_call int[], p_channel uuid[], p_external text[], p_kind text[], p_value text[], p_target uuid[], p_item jsonb[]
) RETURNS TABLE (o_n int, o_outcome text, o_message uuid, o_conversation uuid, o_seq int)
LANGUAGE plpgsql
-- Planning these statements anew costs far more than running them; and every lookup here is by a unique key, so the
-- one plan is index lookups, also when it is made while the tables are still empty.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    v_xid bigint;
    v_now text := to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
    v_known uuid[];          -- message that already has this key
    v_identity uuid[];
    v_contact uuid[];
    v_conv uuid[];
    v_outcome text[];
    v_created boolean := false;
    v_turns boolean;         -- somebody whom we have answered writes again, and an answer is due by a policy
BEGIN
    -- Already stored, or twice in this batch: the first one counts.
    SELECT array_agg(m.id ORDER BY k.n),
           array_agg(CASE WHEN m.id IS NOT NULL OR k.first < k.n THEN 'duplicate' END ORDER BY k.n)
    INTO v_known, v_outcome
    FROM (SELECT u.*, min(u.n) OVER (PARTITION BY u.ch, u.ext) AS first
          FROM unnest(p_channel, p_external) WITH ORDINALITY AS u(ch, ext, n)) k
    LEFT JOIN message m ON m.channel_id = k.ch AND m.external_id = k.ext;

    -- Who wrote; an identity that goes by another one (a visitor who has told us who they are) is that one.
    SELECT array_agg(coalesce(i.same_as, i.id) ORDER BY k.n), array_agg(i.contact_id ORDER BY k.n) INTO v_identity, v_contact
    FROM unnest(p_channel, p_kind, p_value) WITH ORDINALITY AS k(ch, kind, val, n)
    LEFT JOIN contact_identity i ON i.channel_id = k.ch AND i.kind = k.kind AND i.value = k.val;

    IF EXISTS (SELECT 1 FROM unnest(v_identity, v_outcome) AS u(i, o) WHERE u.i IS NULL AND u.o IS NULL) THEN
        WITH fresh AS (
            SELECT DISTINCT ON (k.ch, k.kind, k.val) k.ch, k.kind, k.val, p_item[k.n] AS item
            FROM unnest(p_channel, p_kind, p_value) WITH ORDINALITY AS k(ch, kind, val, n)
            WHERE v_identity[k.n] IS NULL AND v_outcome[k.n] IS NULL
            ORDER BY k.ch, k.kind, k.val, k.n
        ), identity AS (
            INSERT INTO contact_identity(id, contact_id, channel_id, kind, value, address)
            SELECT (item->>'identity_id')::uuid, (item->>'contact_id')::uuid, ch, kind, val, item->'address'
            FROM fresh ORDER BY ch, kind, val
            ON CONFLICT (channel_id, kind, value) DO NOTHING
            RETURNING id
        )
        INSERT INTO contact(id, name, email, phone, language, tier, attributes, version)
        SELECT (item->>'contact_id')::uuid, item->>'name', item->>'email', item->>'phone', item->>'language',
               'standard', '{}', 1
        FROM fresh WHERE (item->>'identity_id')::uuid IN (SELECT id FROM identity);

        SELECT array_agg(coalesce(i.same_as, i.id) ORDER BY k.n), array_agg(i.contact_id ORDER BY k.n) INTO v_identity, v_contact
        FROM unnest(p_channel, p_kind, p_value) WITH ORDINALITY AS k(ch, kind, val, n)
        LEFT JOIN contact_identity i ON i.channel_id = k.ch AND i.kind = k.kind AND i.value = k.val;
    END IF;

    -- Which conversation: the one a reply names, if it is still open, else the sender's open one on this channel. What is
    -- quiet (an automatic answer, an answer to a receipt) goes to what it answers, also when that is over: it moves nothing.
    SELECT array_agg(coalesce(t.id, c.id) ORDER BY k.n) INTO v_conv
    FROM unnest(p_channel, v_identity, p_target) WITH ORDINALITY AS k(ch, identity, target, n)
    LEFT JOIN conversation t ON t.id = k.target AND (t.status <> 'closed' OR (p_item[k.n]->>'quiet')::boolean)
    LEFT JOIN conversation c ON c.identity_id = k.identity AND c.channel_id = k.ch AND c.status <> 'closed';

    -- None is open. One that was closed lately goes on: the caller reopens it first.
    IF EXISTS (SELECT 1 FROM unnest(v_conv, v_outcome) AS u(c, o) WHERE u.c IS NULL AND u.o IS NULL) THEN
        SELECT array_agg(coalesce(v_conv[k.n], z.id) ORDER BY k.n),
               array_agg(CASE WHEN z.id IS NOT NULL THEN 'slow' ELSE v_outcome[k.n] END ORDER BY k.n)
        INTO v_conv, v_outcome
        FROM unnest(v_identity, p_channel, p_item) WITH ORDINALITY AS k(identity, ch, item, n)
        LEFT JOIN LATERAL (
            SELECT c.id FROM conversation c
            WHERE c.identity_id = k.identity AND c.channel_id = k.ch AND c.status = 'closed' AND c.reopen_until > now()
              AND v_conv[k.n] IS NULL AND v_outcome[k.n] IS NULL AND NOT coalesce((k.item->>'quiet')::boolean, false)
            ORDER BY c.closed_at DESC LIMIT 1) z ON true;
    END IF;

    IF EXISTS (SELECT 1 FROM unnest(v_conv, v_outcome) AS u(c, o) WHERE u.c IS NULL AND u.o IS NULL) THEN
        v_created := true;
        WITH fresh AS (
            SELECT DISTINCT ON (k.identity, k.ch) k.ch, k.identity, v_contact[k.n] AS contact, p_item[k.n] AS item,
                   -- its time limits: those for the tier of the contact, where a policy asks for it
                   coalesce(p_item[k.n]->'tiers'->(SELECT p.tier FROM contact p WHERE p.id = v_contact[k.n]),
                            p_item[k.n]->'aims') AS aims
            FROM unnest(p_channel, v_identity) WITH ORDINALITY AS k(ch, identity, n)
            WHERE v_conv[k.n] IS NULL AND v_outcome[k.n] IS NULL
            ORDER BY k.identity, k.ch, k.n
        ), made AS (
            INSERT INTO conversation(
                id, channel_id, channel_type, contact_id, identity_id, queue_id, status, category, matter, severity,
                complaint_type, warranty, corrected, priority, subject, external_ref, sla_policy_id, limits, last_seq, stream_pos,
                cycle, contact_read_seq, participant_ids, correlation_id, follows_id)
            SELECT (item->>'conversation_id')::uuid, ch, item->>'channel_type', contact, identity,
                   (item->>'queue_id')::uuid, 'open', item->>'category', item->>'matter', item->>'severity',
                   item->>'complaint_type', item->>'warranty', false, (item->>'rank')::int, item->>'subject',
                   item->>'external_ref', (aims->>'policy_id')::uuid,
                   (SELECT array_agg(l.id::uuid ORDER BY l.n) FROM jsonb_array_elements_text(aims->'limits')
                    WITH ORDINALITY AS l(id, n)),
                   0, 0, 1, 0, '{}', item->>'correlation_id',
                   (SELECT c.id FROM conversation c WHERE c.identity_id = fresh.identity AND c.channel_id = fresh.ch
                    AND c.status = 'closed' ORDER BY c.closed_at DESC LIMIT 1)
            FROM fresh ORDER BY identity, ch
            ON CONFLICT (identity_id, channel_id) WHERE status <> 'closed' DO NOTHING
            RETURNING id
        ), won AS (
            SELECT f.item, f.aims, f.contact, made.id FROM fresh f JOIN made ON made.id = (f.item->>'conversation_id')::uuid
        ), queued AS (  -- as routing/enqueue.sql does it
            INSERT INTO queue_entry(conversation_id, queue_id, state, weight, skills, escalated, specialists, ring, excluded,
                                    boosts, enqueued_at, order_at, entered_at, next_at)
            SELECT won.id, q.id, 'waiting', (item->>'weight')::int, '{}', (item->>'escalated')::bool,
                   ARRAY(SELECT jsonb_array_elements_text(item->'specialists')), 0, '{}',
                   b.boosts, now(), now() - make_interval(secs => b.boost_s), now(),
                   next_at_v1(q.rings, q.overflow_queue_id, q.overflow_after_s, q.max_wait_s, q.when_closed, q.calendar_id, now(), 0,
                              (item->>'escalated')::bool, false, NULL, NULL, NULL)
            FROM won
            JOIN queue q ON q.id = (item->>'queue_id')::uuid
            CROSS JOIN LATERAL boosts_v1(item->>'category', item->>'matter', item->>'severity', item->>'channel_type',
                                         contact, won.id, now()) b
            RETURNING CASE WHEN next_at IS NOT NULL THEN pg_notify('roundtrip', 'patience') END
        ), classified AS (
            INSERT INTO classification(id, conversation_id, message_id, category, matter, severity, complaint_type, source, fired)
            SELECT (item->>'classification_id')::uuid, id, (item->>'message_id')::uuid, item->>'category', item->>'matter',
                   item->>'severity', item->>'complaint_type', 'rules', item->'fired'
            FROM won
        )
        -- 24x7 the stages are known (`after_us`); those of a calendar are worked out by the watcher, at once
        INSERT INTO sla_clock(id, conversation_id, policy_id, metric, cycle, turn, target_s, calendar_id, calendar_version,
                              state, elapsed_us, running_since, stage, breach_stage, level, stage_at, due_at, next_at)
        SELECT (item->'clock_ids'->>(t.n - 1)::int)::uuid, won.id, t.policy_id, t.metric, 1, 0, t.target_s, t.calendar_id,
               (SELECT d.version FROM calendar d WHERE d.id = t.calendar_id), 'running', 0, now(), 0, t.breach_stage, 0,
               a.stage_at, a.stage_at[t.breach_stage], coalesce(a.stage_at[1], now())
        FROM won
        CROSS JOIN ROWS FROM (jsonb_to_recordset(aims->'clocks')
            AS (policy_id uuid, metric text, target_s int, calendar_id uuid, breach_stage int, after_us bigint[]))
            WITH ORDINALITY AS t(policy_id, metric, target_s, calendar_id, breach_stage, after_us, n)
        CROSS JOIN LATERAL (
            SELECT coalesce(array_agg(now() + s.after_us * interval '1 microsecond' ORDER BY s.n), '{}') AS stage_at
            FROM unnest(t.after_us) WITH ORDINALITY AS s(after_us, n)) a;

        -- Making a conversation has locked its identity (by the foreign key). Was the sender merged into somebody else
        -- before that? Then all of it is done anew (the caller tries again), so that nobody gets a second conversation.
        IF EXISTS (
            SELECT 1 FROM unnest(v_identity, v_contact) AS k(identity, contact)
            JOIN contact_identity i ON i.id = k.identity
            WHERE i.same_as IS NOT NULL OR i.contact_id <> k.contact
        ) THEN
            RAISE serialization_failure USING MESSAGE = 'a sender was merged into another contact meanwhile';
        END IF;

        SELECT array_agg(coalesce(t.id, c.id) ORDER BY k.n) INTO v_conv
        FROM unnest(p_channel, v_identity, p_target) WITH ORDINALITY AS k(ch, identity, target, n)
        LEFT JOIN conversation t ON t.id = k.target AND (t.status <> 'closed' OR (p_item[k.n]->>'quiet')::boolean)
        LEFT JOIN conversation c ON c.identity_id = k.identity AND c.channel_id = k.ch AND c.status <> 'closed';
    END IF;

    PERFORM 1 FROM conversation c WHERE c.id = ANY(v_conv) ORDER BY c.id FOR UPDATE;
    v_xid := pg_current_xact_id()::text::bigint;

    -- Under the locks: a twin of a message here may have been stored while we waited, a conversation closed.
    SELECT array_agg(coalesce(v_known[k.n], m.id) ORDER BY k.n),
           array_agg(CASE
               WHEN v_outcome[k.n] IS NOT NULL THEN v_outcome[k.n]
               WHEN m.id IS NOT NULL THEN 'duplicate'
               WHEN c.id IS NULL THEN 'retry'
               WHEN (p_item[k.n]->>'quiet')::boolean THEN NULL  -- it moves nothing
               WHEN c.status = 'closed' THEN 'retry'
               WHEN c.status <> 'open' THEN 'slow'
               WHEN NOT c.corrected AND (  -- it is more urgent, or worse, than we knew (classify.graver)
                   (p_item[k.n]->>'rank')::int > CASE c.category WHEN 'urgent' THEN 2 WHEN 'complex' THEN 1 ELSE 0 END
                   OR CASE p_item[k.n]->>'severity' WHEN 'critical' THEN 2 WHEN 'major' THEN 1 ELSE 0 END
                      > CASE c.severity WHEN 'critical' THEN 2 WHEN 'major' THEN 1 ELSE 0 END) THEN 'slow'
               END ORDER BY k.n),
           bool_or(c.first_replied_at IS NOT NULL AND c.limits[3] IS NOT NULL)
    INTO v_known, v_outcome, v_turns
    FROM unnest(p_channel, p_external, v_conv) WITH ORDINALITY AS k(ch, ext, conv, n)
    LEFT JOIN conversation c ON c.id = k.conv
    LEFT JOIN message m ON m.channel_id = k.ch AND m.external_id = k.ext;

    RETURN QUERY
    WITH todo AS (
        SELECT k.n::int AS n, k.conv, k.ch, k.ext, k.contact, p_item[k.n] AS item
        FROM unnest(v_conv, p_channel, p_external, v_contact, v_outcome) WITH ORDINALITY AS k(conv, ch, ext, contact, outcome, n)
        WHERE k.outcome IS NULL
    ), counted AS (
        SELECT conv, count(*)::int AS c, bool_or(NOT coalesce((item->>'automatic')::boolean, false)) AS by_hand, (array_agg(item->>'correlation_id' ORDER BY n DESC))[1] AS correlation,
               (array_agg(item->>'external_ref' ORDER BY n DESC))[1] AS ref
        FROM todo GROUP BY conv
    ), advanced AS (
        UPDATE conversation c
        SET last_seq = c.last_seq + counted.c, stream_pos = greatest(c.stream_pos, v_xid),
            last_inbound_at = CASE WHEN counted.by_hand THEN now() ELSE c.last_inbound_at END,
            updated_at = now(), correlation_id = counted.correlation, external_ref = coalesce(counted.ref, c.external_ref)
        FROM counted WHERE c.id = counted.conv
        RETURNING c.id, c.last_seq - counted.c AS base, c.stream_pos, c.contact_id, c.channel_id, c.queue_id, c.follows_id,
                  array_remove(ARRAY[c.assignee_id, nullif(c.owner_id, c.assignee_id)], NULL) || c.participant_ids AS agents
    ), numbered AS (
        SELECT todo.*, a.stream_pos, a.contact_id, a.channel_id, a.agents, a.follows_id,
               array_remove(ARRAY[a.queue_id], NULL) AS queues,
               (a.base + row_number() OVER (PARTITION BY todo.conv ORDER BY todo.n))::int AS seq,
               (item->>'message_id')::uuid AS message,
               -- by the name we know them by, where the call gives none
               coalesce(item->>'name', (SELECT p.name FROM contact p WHERE p.id = todo.contact)) AS author
        FROM todo JOIN advanced a ON a.id = todo.conv
    ), stored AS (
        INSERT INTO message(id, conversation_id, seq, channel_id, direction, kind, author_type, author_id, author_name, text,
                            subject, content, attachments, external_id, thread_key, client_message_id, correlation_id, sent_at)
        SELECT message, conv, seq, ch, CASE WHEN item @> '{"ours": true}' THEN 'outbound' ELSE 'inbound' END,  -- a call of ours
               coalesce(item->>'kind', 'message'), CASE WHEN item @> '{"ours": true}' THEN 'system' ELSE 'contact' END,
               CASE WHEN item @> '{"ours": true}' THEN NULL ELSE contact END,
               CASE WHEN item @> '{"ours": true}' THEN NULL ELSE author END, item->>'text',
               item->>'subject', CASE WHEN item->'content' ? 'threading' THEN  -- a mail: by which rule it came here (mail_threads.py)
                   (item->'content') || jsonb_build_object('threading', jsonb_build_object(
                       'rule', CASE WHEN conv = (item->>'conversation_id')::uuid THEN 'new' ELSE 'sender' END)
                       || jsonb_strip_nulls(item->'content'->'threading'))
               ELSE item->'content' END, item->'attachments', ext, item->>'thread_key',
               item->>'client_message_id', item->>'correlation_id', (item->>'sent_at')::timestamptz
        FROM numbered ORDER BY n
    ), held AS (
        SELECT f.*, numbered.message, numbered.conv, numbered.ch
        FROM numbered, jsonb_to_recordset(item->'attachments')
             AS f(id uuid, sha256 text, size bigint, media_type text, name text, remote jsonb)
    ), files AS (
        INSERT INTO attachment(id, sha256, size, media_type, name, message_id)
        SELECT id, sha256, size, media_type, name, message FROM held WHERE sha256 IS NOT NULL
    ), elsewhere AS (
        INSERT INTO media_fetch(attachment_id, message_id, conversation_id, channel_id, ref, attempts)
        SELECT id, message, conv, ch, remote, 0 FROM held WHERE sha256 IS NULL AND remote IS NOT NULL
        RETURNING pg_notify('roundtrip', 'media')  -- runs per row, is sent once
    ), told AS (
        INSERT INTO event(pos, type, conversation_id, contact_id, channel_id, seq, scope, queues, agents, to_customer,
                          actor_type, actor_id, correlation_id, payload)
        SELECT e.pos, e.type, e.conv, e.contact_id, e.channel_id, e.seq, 'conversation', e.queues, e.agents, true, 'contact', e.contact,
               e.correlation, e.payload
        FROM (
            SELECT n, 0 AS k, stream_pos AS pos, 'conversation.created' AS type, conv, contact_id, channel_id, seq - 1 AS seq, queues,
                   agents, contact, item->>'correlation_id' AS correlation,
                   jsonb_build_object('conversation', (item->'opened') || jsonb_build_object(
                       'contact_id', contact_id, 'follows_id', follows_id, 'created_at', v_now, 'updated_at', v_now)) AS payload
            FROM numbered WHERE v_created AND conv = (item->>'conversation_id')::uuid AND seq = 1
            UNION ALL
            SELECT n, 1, stream_pos, 'message.created', conv, contact_id, channel_id, seq, queues, agents, contact,
                   item->>'correlation_id',
                   jsonb_build_object('message', (item->'shown') || jsonb_build_object(
                       'conversation_id', conv, 'seq', seq, 'created_at', v_now,
                       'author', CASE WHEN item @> '{"ours": true}' THEN item->'shown'->'author'
                                 ELSE jsonb_build_object('type', 'contact', 'id', contact, 'name', author) END))
            FROM numbered
            ORDER BY n, k
        ) e
    )
    SELECT n, 'stored', message, conv, seq FROM numbered;

    RETURN QUERY
    SELECT k.n::int, k.outcome, coalesce(m.id, f.id), coalesce(m.conversation_id, f.conversation_id, v_conv[k.n]), coalesce(m.seq, f.seq)
    FROM unnest(v_outcome, v_known, p_channel, p_external) WITH ORDINALITY AS k(outcome, known, ch, ext, n)
    LEFT JOIN message m ON m.id = k.known
    LEFT JOIN message f ON k.known IS NULL AND k.outcome = 'duplicate' AND f.channel_id = k.ch AND f.external_id = k.ext
    WHERE k.outcome IS NOT NULL;

    IF v_turns THEN  -- by the policy of `next_response` (limits[3]); the watcher works out its stages, at once
        INSERT INTO sla_clock(id, conversation_id, policy_id, metric, cycle, turn, target_s, calendar_id, calendar_version,
                              state, elapsed_us, running_since, stage, breach_stage, level, stage_at, next_at)
        SELECT m.id, c.id, p.id, 'next_response', c.cycle, m.seq, p.next_response_s, p.calendar_id,
               (SELECT d.version FROM calendar d WHERE d.id = p.calendar_id), 'running', 0, now(), 0, 1, 0, '{}', now()
        FROM unnest(v_outcome, p_item) WITH ORDINALITY AS k(outcome, item, n)
        JOIN message m ON m.id = (k.item->>'message_id')::uuid
        JOIN conversation c ON c.id = m.conversation_id AND c.first_replied_at IS NOT NULL
        JOIN sla_policy p ON p.id = c.limits[3]
        WHERE k.outcome IS NULL AND NOT coalesce((k.item->>'quiet')::boolean, false)
          AND NOT EXISTS (SELECT 1 FROM sla_clock f WHERE f.conversation_id = c.id AND f.metric = 'first_response'
                          AND f.cycle = c.cycle AND f.state = 'running')
        ORDER BY k.n
        ON CONFLICT DO NOTHING;
        PERFORM pg_notify('roundtrip', 'sla');
    END IF;

    INSERT INTO inbound_journal(id, channel_id, transport, headers, body, status, error, correlation_id)
    SELECT (j.call->>'id')::uuid, (j.call->>'channel_id')::uuid, j.call->>'transport', j.call->'headers', j.body,
           coalesce(j.call->>'status', CASE
               WHEN bool_or(v_outcome[i.n] IN ('slow', 'retry')) THEN 'received'
               WHEN bool_or(i.n IS NOT NULL AND v_outcome[i.n] IS NULL) THEN 'stored'
               ELSE 'duplicate' END),
           j.call->>'error', j.call->>'correlation_id'
    FROM unnest(p_journal, p_bodies) WITH ORDINALITY AS j(call, body, c)
    LEFT JOIN unnest(p_call) WITH ORDINALITY AS i(c, n) ON i.c = j.c
    GROUP BY j.c, j.call, j.body;

    -- Calls that only ring: somewhere messages wait to be pulled (pulling.py), the newest bell counts. One that failed keeps
    -- its turn, so that rings do not hurry it.
    IF EXISTS (SELECT 1 FROM unnest(p_journal) AS j(call) WHERE jsonb_typeof(j.call->'bell') = 'object') THEN
        INSERT INTO channel_cursor AS c (channel_id, source, cursor, bell, rung_at, attempts, due_at)
        SELECT DISTINCT ON (1, 2) (j.call->>'channel_id')::uuid, j.call->'bell'->>'source', '', j.call->'bell',
               clock_timestamp(), 0, now()
        FROM unnest(p_journal) WITH ORDINALITY AS j(call, n)
        WHERE jsonb_typeof(j.call->'bell') = 'object'
        ORDER BY 1, 2, j.n DESC
        ON CONFLICT (channel_id, source) DO UPDATE
        SET bell = excluded.bell, rung_at = clock_timestamp(),
            due_at = CASE WHEN c.attempts > 0 THEN c.due_at ELSE least(c.due_at, now()) END;
        PERFORM pg_notify('roundtrip', 'pull');
    END IF;

    IF EXISTS (SELECT 1 FROM unnest(v_outcome) AS u(o) WHERE u.o IS NULL) THEN
        PERFORM pg_notify('roundtrip', 'events');
        -- Something was done to one of these before it was here (early_changes.py).
        IF EXISTS (SELECT 1 FROM unnest(p_channel, p_external) AS k(ch, ext)
                   JOIN early_change e ON e.channel_id = k.ch AND e.external_id = k.ext) THEN
            PERFORM pg_notify('roundtrip', 'early-changes');
        END IF;
        IF v_created THEN
            PERFORM pg_notify('roundtrip', 'dispatch');
            PERFORM pg_notify('roundtrip', 'sla');
        END IF;
    END IF;
END $$;
