-- hour_start is added by Tidemill; a query that returns it is refused
select wiki, type,
       count(*)                                                            as changes,
       count(*) filter (where bot)                                         as bot_changes,
       count(distinct "user")                                              as users,
       sum(greatest(length_new - coalesce(length_old, 0), 0))              as bytes_added,
       sum(greatest(coalesce(length_old, 0) - length_new, 0))              as bytes_removed,
       percentile_cont(0.95) within group (order by size_change)           as size_change_p95   -- exact, interpolated
from raw.recentchange
group by wiki, type
