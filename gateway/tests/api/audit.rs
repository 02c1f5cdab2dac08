//! AuditService, on the operators' door.

use std::collections::BTreeMap;
use std::time::Duration;

use spillway_proto::pb::ops::audit_service_client::AuditServiceClient;
use spillway_proto::pb::ops::{AuditEntry, ExportAuditRequest, VerifyAuditRequest, VerifyAuditResponse};
use tonic::{Code, Status};

use crate::kit::{Client, PATIENCE, World, fields, order_in, reason};

async fn verify(client: &mut Client) -> Result<Vec<VerifyAuditResponse>, Status> {
    let mut stream = client.audit.verify_audit(VerifyAuditRequest {}).await?.into_inner();
    let mut told = Vec::new();
    while let Some(message) = stream.message().await? {
        told.push(message);
    }
    Ok(told)
}

async fn export(client: &mut Client, request: ExportAuditRequest) -> Result<Vec<AuditEntry>, Status> {
    let mut stream = client.audit.export_audit(request).await?.into_inner();
    let mut entries = Vec::new();
    while let Some(message) = stream.message().await? {
        entries.push(message.entry.expect("an entry"));
    }
    Ok(entries)
}

#[tokio::test]
async fn the_chain_of_every_partition_is_verified_and_exported() {
    let world = World::new(2).await;
    let _roles = (world.orders().await, world.inventory().await, world.audit().await);
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    for n in 0..8 {
        let placed = client.place(&order_in(n % 2, "tea")).await.expect("accepted");
        client.until_rejected(&placed.order_id).await;
    }
    // Placed, refused, rejected: of each order, in whatever batches.
    let mut look = tokio::time::interval(Duration::from_millis(50));
    let heard = async {
        loop {
            look.tick().await;
            let told = verify(&mut client).await.expect("answers");
            let ends: Vec<_> = told.into_iter().filter(|told| told.done).collect();
            if ends.iter().map(|end| end.events).sum::<i64>() == 24 {
                return ends;
            }
        }
    };
    let ends = tokio::time::timeout(PATIENCE, heard).await.expect("in time");
    assert_eq!(
        ends.iter().map(|end| (end.partition, end.broken.is_some())).collect::<Vec<_>>(),
        [(0, false), (1, false)]
    );

    let all = export(&mut client, ExportAuditRequest::default()).await.expect("answers");
    let mut chains: BTreeMap<u32, Vec<&AuditEntry>> = BTreeMap::new();
    all.iter().for_each(|entry| chains.entry(entry.partition).or_default().push(entry));
    for end in &ends {
        let chain = &chains[&end.partition];
        assert_eq!(chain.iter().map(|entry| entry.position).collect::<Vec<_>>(), (1..=end.entries).collect::<Vec<_>>());
        assert_eq!(chain.last().expect("not empty").hash, end.hash);
    }
    let of_one = ExportAuditRequest { partition: Some(1), after: 1 };
    let rest = export(&mut client, of_one).await.expect("answers");
    assert_eq!(rest.iter().collect::<Vec<_>>(), chains[&1][1..]);
}

#[tokio::test]
async fn what_is_wrong_and_who_is_away_is_told() {
    let world = World::new(1).await;
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    let away = verify(&mut client).await.expect_err("nobody answers");
    assert_eq!((away.code(), reason(&away).as_str()), (Code::Unavailable, "SERVICE_UNREACHABLE"));
    let wrong = export(&mut client, ExportAuditRequest { partition: Some(1), after: 0 }).await.expect_err("one only");
    assert_eq!(fields(&wrong), ["partition"]);
    let wrong = export(&mut client, ExportAuditRequest { partition: None, after: -1 }).await.expect_err("negative");
    assert_eq!(fields(&wrong), ["after"]);
    // Not where clients call.
    let mut public = AuditServiceClient::new(client.channel.clone());
    let absent = public.verify_audit(VerifyAuditRequest {}).await.expect_err("not there");
    assert_eq!(absent.code(), Code::Unimplemented);
}
