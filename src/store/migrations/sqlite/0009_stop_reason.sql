-- Why an attempt is to stop, for decisions: a `StopReason`. The column `stop` tells it to people.
ALTER TABLE attempts ADD COLUMN stop_reason TEXT;

-- What older versions decided by the words. A stop of any other words was asked for by a person.
UPDATE attempts SET stop_reason = CASE
    WHEN stop LIKE 'timed out%' THEN 'timed_out'
    WHEN stop LIKE '%marked the run%' THEN 'marked'
    WHEN stop = 'tidemill is stopping' THEN 'shutdown'
    WHEN stop = 'it is gone from the project''s files' THEN 'gone'
    WHEN stop = 'a newer attempt has taken over' THEN 'superseded'
    WHEN stop = 'its job or topic has been edited' THEN 'edited'
    ELSE 'asked' END
WHERE stop IS NOT NULL;
