-- Whatever classifies a conversation as a complaint, its first message or a person, registers it in the same
-- transaction. The condition is looked at before the function is called: other conversations pay nothing.
DO $install$
BEGIN
    LOCK TABLE conversation IN SHARE ROW EXCLUSIVE MODE;

    CREATE OR REPLACE FUNCTION register_complaint_v1() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO complaint(conversation_id, number, anonymous, progress, version)
        SELECT NEW.id, nextval('complaint_number'), false, 'registered', 1
        WHERE NOT EXISTS (SELECT 1 FROM complaint WHERE conversation_id = NEW.id)
        ON CONFLICT (conversation_id) DO NOTHING;
        RETURN NULL;
    END $$;

    CREATE OR REPLACE TRIGGER register_opened AFTER INSERT ON conversation
        FOR EACH ROW WHEN (NEW.matter = 'complaint') EXECUTE FUNCTION register_complaint_v1();
    CREATE OR REPLACE TRIGGER register_classified AFTER UPDATE OF matter ON conversation
        FOR EACH ROW WHEN (NEW.matter = 'complaint') EXECUTE FUNCTION register_complaint_v1();

    INSERT INTO complaint(conversation_id, number, registered_at, anonymous, progress, version)
    SELECT c.id, nextval('complaint_number'), c.created_at, false, 'registered', 1
    FROM (SELECT id, created_at FROM conversation WHERE matter = 'complaint' ORDER BY id) c
    ON CONFLICT (conversation_id) DO NOTHING;
END $install$;
