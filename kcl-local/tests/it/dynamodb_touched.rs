//! Which rows writes have touched.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::{DeleteRequest, WriteRequest};
use kcl_local::Backend;
use kcl_local::dynamodb::Touched;

use crate::worlds::{TABLE, create_lease_table, put_lease, s};

fn rows(names: &[&str]) -> Touched {
    Touched::Rows(names.iter().map(ToString::to_string).collect::<BTreeSet<_>>())
}

#[tokio::test(start_paused = true)]
async fn each_row_that_was_written_is_told_once() {
    let backend = Backend::start();
    let client = aws_sdk_dynamodb::Client::new(&backend.sdk_config());
    create_lease_table(&client).await;
    let touched = backend.dynamodb().touched_rows(TABLE, "leaseKey");
    assert_eq!(touched.take(), Touched::Any);
    assert_eq!(touched.take(), rows(&[]));

    put_lease(&client, "shard-0", "worker-1").await;
    put_lease(&client, "shard-1", "worker-1").await;
    let update = client
        .update_item()
        .table_name(TABLE)
        .key("leaseKey", s("shard-1"));
    update
        .update_expression("REMOVE leaseOwner")
        .send()
        .await
        .unwrap();
    let read = client.get_item().table_name(TABLE).key("leaseKey", s("shard-2"));
    read.send().await.unwrap();
    assert_eq!(touched.take(), rows(&["shard-0", "shard-1"]));

    let delete = client
        .delete_item()
        .table_name(TABLE)
        .key("leaseKey", s("shard-0"));
    delete.send().await.unwrap();
    let refused = client.put_item().table_name(TABLE).item("leaseKey", s("shard-1"));
    let refused = refused.condition_expression("attribute_not_exists(leaseKey)");
    refused.send().await.unwrap_err();
    assert_eq!(touched.take(), rows(&["shard-0"]));
}

#[tokio::test(start_paused = true)]
async fn a_write_of_several_items_may_have_touched_anything() {
    let backend = Backend::start();
    let client = aws_sdk_dynamodb::Client::new(&backend.sdk_config());
    create_lease_table(&client).await;
    put_lease(&client, "shard-0", "worker-1").await;
    let touched = backend.dynamodb().touched_rows(TABLE, "leaseKey");
    touched.take();

    let delete = DeleteRequest::builder()
        .key("leaseKey", s("shard-0"))
        .build()
        .unwrap();
    let batch = vec![WriteRequest::builder().delete_request(delete).build()];
    client
        .batch_write_item()
        .request_items(TABLE, batch)
        .send()
        .await
        .unwrap();
    assert_eq!(touched.take(), Touched::Any);
}
