//! Lands a whole topic of recentchange events in a lake and tells what that took.
//!
//! `land BROKERS TOPIC FOLDER [COLUMNS]`: BROKERS is a list of hosts and ports, or the folder of
//! embedded topics; FOLDER gets the lake; COLUMNS is 14 (the default) or all.
//! `land FILE - FOLDER` first puts the lines of a file into an embedded topic beside the lake.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::BufRead;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tidemill::clock::Clock;
use tidemill::kafka::Cluster;
use tidemill::kafka::Outgoing;
use tidemill::lake::Lake;
use tidemill::model::column::Column;
use tidemill::model::column::Origin;
use tidemill::model::commit::Publish;
use tidemill::model::hive::Grain;
use tidemill::model::hive::PartitionBy;
use tidemill::model::job::OnGap;
use tidemill::model::job::Roll;
use tidemill::model::job::Start;
use tidemill::model::job::StreamJob;
use tidemill::model::settings::LakeUrl;
use tidemill::model::topic::EventTimeRule;
use tidemill::model::topic::Idle;
use tidemill::model::topic::Topic;
use tidemill::stream;
use tidemill::stream::Progress;
use tidemill::stream::StreamContext;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const COLUMNS: &str = "id:int64 type:string namespace:int64 title:string comment:string \
     event_time=meta.dt:timestamp user:string bot:bool wiki:string server_name:string \
     length_old=length.old:int64 length_new=length.new:int64 revision_new=revision.new:int64 \
     meta_id=meta.id:string";
const MORE: &str = " schema=$schema:string meta_uri=meta.uri:string \
     meta_request_id=meta.request_id:string meta_domain=meta.domain:string \
     meta_stream=meta.stream:string title_url:string timestamp:int64 notify_url:string minor:bool \
     patrolled:bool revision_old=revision.old:int64 server_url:string server_script_path:string \
     parsedcomment:string rest=*:json";

fn column(text: &str) -> Result<Column, Box<dyn Error>> {
    let (name, kind) = text.rsplit_once(':').ok_or("name:type")?;
    let (name, path) = name.split_once('=').unwrap_or((name, name));
    let origin = match path {
        "*" => Origin::Rest,
        path => Origin::Path(path.split('.').map(str::to_owned).collect()),
    };
    Ok(Column { name: name.into(), origin, kind: kind.parse()?, required: name == "meta_id" })
}

fn topic(name: &str, all: bool) -> Result<Topic, Box<dyn Error>> {
    let columns = if all { [COLUMNS, MORE].concat() } else { COLUMNS.to_owned() };
    Ok(Topic {
        name: name.parse()?,
        partitions: 4,
        retention: Duration::from_hours(24 * 7),
        columns: columns.split_whitespace().map(column).collect::<Result<_, _>>()?,
        event_time: EventTimeRule {
            column: "event_time".into(),
            out_of_order: Duration::from_mins(1),
            max_ahead: Duration::from_mins(10),
            max_age: None,
            marks: true,
            idle: Idle::Others,
        },
        expects: Vec::new(),
    })
}

/// Fills an embedded topic with the lines of a file.
fn fill(cluster: &Cluster, topic: &Topic, file: &Path) -> Result<(), Box<dyn Error>> {
    cluster.ensure_topic(&topic.name, topic.partitions, topic.retention)?;
    let mut producer = cluster.producer(&topic.name, &Clock::system())?;
    let lines = std::io::BufReader::with_capacity(1 << 20, std::fs::File::open(file)?).split(b'\n');
    for (line, to) in lines.zip((0..topic.partitions).cycle()) {
        let line = line?;
        producer.send(Outgoing {
            topic_partition: to,
            payload: Some(&line),
            ..Outgoing::default()
        })?;
    }
    Ok(producer.flush()?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [from, name, folder, ..] = args.as_slice() else {
        return Err("land BROKERS TOPIC FOLDER [14|all]".into());
    };
    let folder = PathBuf::from(folder);
    let topic =
        topic(if name == "-" { "rc" } else { name }, args.get(3).is_some_and(|c| c == "all"))?;
    let embedded = |dir: PathBuf| Cluster::Embedded { dir, keep_bytes: u64::MAX };
    let cluster = match name.as_str() {
        "-" => {
            let cluster = embedded(folder.join("topics"));
            let (file, filled, topic) = (PathBuf::from(from), cluster.clone(), topic.clone());
            tokio::task::spawn_blocking(move || {
                fill(&filled, &topic, &file).map_err(|err| err.to_string())
            })
            .await??;
            cluster
        }
        _ if from.contains('/') => embedded(from.into()),
        _ => Cluster::Brokers { servers: from.clone(), properties: BTreeMap::new() },
    };
    let clock = Clock::system();
    let project = "bench".parse()?;
    let lake = Lake::open(&LakeUrl::Folder(folder.join("lake")), &project, clock.clone()).await?;
    let job = StreamJob {
        topic: topic.name.clone(),
        start: Start::Earliest,
        on_gap: OnGap::Stop,
        table: "raw.recentchange".parse()?,
        partition_by: PartitionBy::utc(Grain::Hour),
        close_after: Duration::from_mins(10),
        late_quiet: Duration::from_mins(1),
        roll: Roll { every: Duration::from_mins(5), size_bytes: 128 << 20 },
        instances: 1,
        publish: Publish::OnCommit,
    };
    let group = stream::group(&project, &lake, &job.table);
    let (source_topic, source_clock) = (topic.name.clone(), clock.clone());
    let began = clock.now();
    let source =
        tokio::task::spawn_blocking(move || cluster.source(&source_topic, &group, &source_clock))
            .await??;
    let (progress, mut told) = watch::channel(Progress::default());
    let stop = CancellationToken::new();
    let context = StreamContext {
        job,
        job_hash: String::new(),
        topic,
        lake,
        source,
        clock: clock.clone(),
        memory_bytes: 256 << 20,
        ping: Arc::new(|| {}),
        progress,
        stop: stop.clone(),
    };
    let watcher = told.clone();
    let end_seen = async {
        let read = |now: &Progress| {
            let all = now.topic_partitions.len() == 4
                && now.topic_partitions.values().all(|own| own.end > 0);
            all && now.read >= now.topic_partitions.values().map(|own| own.end.unsigned_abs()).sum()
        };
        told.wait_for(read).await.map(drop).ok();
        stop.cancel();
    };
    let (ran, ()) = tokio::join!(stream::run(context), end_seen);
    ran?;
    let last = watcher.borrow().clone();
    let seconds = clock.now().duration_since(began)?.as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    let line = format!("{:?} in {seconds:.2} s, {}\n", last.counts, peak.replace('\t', " "));
    Ok(std::io::stdout().write_all(line.as_bytes())?)
}
