-- What pages must know of the organisation, as one row: its time zone decides days and months (SPEND_TIMEZONE). `migrate
-- up` makes the view again whenever the setting differs.
CREATE OR REPLACE VIEW $database.organisation $on_cluster AS
SELECT '$timezone' AS timezone;
