-- What adds up is taken from the hours. Distinct users and a percentile don't: they are counted again, over the day.
with hours as (
  select wiki, type,
         sum(changes)       as changes,
         sum(bot_changes)   as bot_changes,
         sum(bytes_added)   as bytes_added,
         sum(bytes_removed) as bytes_removed
  from agg.recentchange_by_hour
  group by wiki, type
), day as (
  select wiki, type,
         count(distinct "user")                                    as users,
         percentile_cont(0.95) within group (order by size_change) as size_change_p95
  from raw.recentchange
  group by wiki, type
)
select hours.wiki, hours.type, changes, bot_changes, users, bytes_added, bytes_removed, size_change_p95
from hours left join day
  on (hours.wiki is not distinct from day.wiki) and (hours.type is not distinct from day.type)
