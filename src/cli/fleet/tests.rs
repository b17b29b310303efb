//! Who is in a fleet.

use super::*;

fn remote() -> Remote {
    Remote {
        admin: Address::Host("127.0.0.1:9900".to_owned()),
        token: Some("s3cret".to_owned()),
        ca: None,
        cert: None,
        key: None,
        json: false,
    }
}

async fn addresses(fleet: &str) -> anyhow::Result<Vec<String>> {
    let fleet = fleet.parse().expect("a fleet");
    let members = members(&fleet, &remote()).await?;
    assert!(members.iter().all(|one| one.token == remote().token));
    Ok(members.iter().map(|one| one.admin.to_string()).collect())
}

#[tokio::test]
async fn a_file_has_an_address_a_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("fleet");
    let fleet = format!("file:{}", path.display());
    std::fs::write(&path, "# the fleet\na:1\n\n  unix:/run/e.sock  # here\n").expect("written");
    let read = addresses(&fleet).await.expect("a fleet");
    assert_eq!(read, ["a:1", "unix:/run/e.sock"]);
    std::fs::write(&path, "a:1\nnowhere\n").expect("written");
    let error = addresses(&fleet).await.expect_err("no address");
    assert!(
        error.to_string().contains("fleet:2: \"nowhere\""),
        "{error}"
    );
    std::fs::write(&path, "# nobody\n").expect("written");
    let error = addresses(&fleet).await.expect_err("nobody");
    assert!(error.to_string().contains("nobody"), "{error}");
    let error = addresses("file:/nonexistent/fleet")
        .await
        .expect_err("none");
    assert!(error.to_string().contains("/nonexistent/fleet"), "{error}");
}

#[tokio::test]
async fn nobody_is_in_it_twice() {
    let error = addresses("a:1,b:1,a:1").await.expect_err("one is twice");
    assert!(error.to_string().contains("a:1"), "{error}");
}

#[tokio::test]
async fn a_name_has_addresses_and_proves_itself() {
    let read = addresses("dns:localhost:9900").await.expect("it is known");
    assert!(read.contains(&"127.0.0.1:9900".to_owned()), "{read:?}");
    let fleet = "dns:https://localhost:9900".parse().expect("a fleet");
    let members = members(&fleet, &remote()).await.expect("it is known");
    for member in members {
        let Address::Named { name, at } = &member.admin else {
            panic!("{:?}", member.admin);
        };
        assert_eq!((name.as_str(), at.port()), ("localhost:9900", 9900));
    }
    let error = addresses("dns:nobody.invalid:1").await.expect_err("none");
    assert!(error.to_string().contains("nobody.invalid"), "{error}");
}
