-- History: words to search transactions by. Filled when their events are published, so that no decision pays for it.
SET LOCAL ROLE migrator;

CREATE TABLE transaction_search (
    card_id uuid NOT NULL,
    transaction_id uuid NOT NULL,
    user_id uuid NOT NULL,
    -- What a transaction is found by, with two words that name its card and its user: the index finds the words of one of them
    -- without going through everybody's.
    document tsvector NOT NULL,
    PRIMARY KEY (card_id, transaction_id)
);
-- Written at once: what is put off would be gone through by each search.
CREATE INDEX transaction_search_words ON transaction_search USING gin (document) WITH (fastupdate = off);
-- Transactions themselves have no index by id alone: staff finds the card of one here. Hashed, so that no search walks through
-- everybody's transactions for their order.
CREATE INDEX transaction_search_by_transaction ON transaction_search USING hash (transaction_id);
CALL protect_user_rows('transaction_search');
GRANT SELECT ON transaction_search TO app;
GRANT SELECT, INSERT ON transaction_search TO worker;

-- The word that stands for a card or a user in documents and in what is searched for.
CREATE FUNCTION search_word(p_kind text, p_id uuid) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN p_kind || replace(p_id::text, '-', '');
GRANT EXECUTE ON FUNCTION search_word(text, uuid) TO worker;

-- Transactions of a card (or, without one, of a user) that the words are found in, newest first; NULL filters nothing. It rises above
-- its caller because row-level security keeps text search from its index; whose rows they are is asked here again.
CREATE FUNCTION find_transactions(
    p_card_id uuid, p_user_id uuid, p_words text, p_before uuid, p_lowest uuid, p_since timestamptz, p_until timestamptz,
    p_status text, p_merchant_category text, p_min_amount numeric, p_max_amount numeric, p_limit integer
) RETURNS TABLE (card_id uuid, transaction_id uuid)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    -- How rare the words are decides how to look for them.
    SET plan_cache_mode = force_custom_plan AS $find$
DECLARE
    words tsquery := websearch_to_tsquery('simple', p_words);
BEGIN
    IF numnode(words) = 0 THEN
        RETURN;
    END IF;
    words := words && CASE WHEN p_card_id IS NULL THEN search_word('user', p_user_id) ELSE search_word('card', p_card_id) END::tsquery;
    RETURN QUERY
        SELECT s.card_id, s.transaction_id FROM transaction_search s
        JOIN card_transactions t ON t.card_id = s.card_id AND t.transaction_id = s.transaction_id
        WHERE s.document @@ words
            AND (s.user_id = actor_id() OR actor_is_staff() OR actor_role() = 'system')
            -- A merchant chooses its name, and may choose the word of a card.
            AND (s.card_id = p_card_id OR (p_card_id IS NULL AND s.user_id = p_user_id))
            AND (p_before IS NULL OR s.transaction_id < p_before) AND (p_lowest IS NULL OR s.transaction_id >= p_lowest)
            AND (p_since IS NULL OR t.decided_at >= p_since) AND (p_until IS NULL OR t.decided_at < p_until)
            AND (p_status IS NULL OR t.status = p_status::transaction_status)
            AND (p_merchant_category IS NULL OR t.merchant_category = p_merchant_category)
            AND (p_min_amount IS NULL OR t.amount >= p_min_amount) AND (p_max_amount IS NULL OR t.amount <= p_max_amount)
        ORDER BY s.transaction_id DESC LIMIT p_limit;
END
$find$;
GRANT EXECUTE ON FUNCTION
    find_transactions(uuid, uuid, text, uuid, uuid, timestamptz, timestamptz, text, text, numeric, numeric, integer) TO app, worker;
