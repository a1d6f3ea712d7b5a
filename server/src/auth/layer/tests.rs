use std::future::{Ready, ready};

use bellboard_core::access::{Principal, Scope, Scopes};
use bellboard_core::clock::Manual;
use bellboard_core::id::{PrincipalId, TenantId};
use bellboard_proto::google::rpc::{ErrorInfo, Status as RpcStatus};
use http::HeaderValue;
use prost::Message as _;

use super::super::key::{Key, generate};
use super::super::keys::Known;
use super::super::rules::Scheme;
use super::*;

/// Answers with the id of the key that it was called with, or with "nobody".
#[derive(Clone)]
struct Inside;

impl Service<Request<Body>> for Inside {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let credential = request.extensions().get::<Arc<Credential>>();
        let name = credential.map_or("nobody", |credential| &credential.key_id);
        let mut response = Response::new(Body::default());
        response
            .headers_mut()
            .insert("key", HeaderValue::from_str(name).unwrap());
        ready(Ok(response))
    }
}

const LIST: &str = "/bellboard.v1.SessionEventsService/ListSessions";
const CHECK: &str = "/grpc.health.v1.Health/Check";
const REFLECT: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

struct House {
    door: Guarded<Inside>,
    good: Key,
    expired: Key,
}

fn house(listener: &str) -> House {
    let keys = Keys::new(Manual::starting_at(Time(2_000_000)));
    let (good, expired) = (generate().unwrap(), generate().unwrap());
    let known = |key: &Key, expire_time| Known {
        id: key.id.clone(),
        hash: key.hash,
        principal: Principal {
            tenant: TenantId::parse("default").unwrap(),
            id: PrincipalId::parse("ada").unwrap(),
            scopes: Scopes::from_iter([Scope::Read]),
        },
        expire_time,
    };
    keys.replace(vec![known(&good, None), known(&expired, Some(Time(1_000_000)))]);
    let rules = Rules::new(listener.parse().unwrap(), Scheme::Http, Vec::new(), Vec::new());
    House {
        door: layer(keys, Arc::new(rules)).layer(Inside),
        good,
        expired,
    }
}

impl House {
    /// Who the inside saw, or the code, reason and metadata of the refusal.
    async fn check(&mut self, path: &str, headers: &[(&'static str, &str)]) -> Result<String, (Code, String)> {
        let mut request = Request::builder().uri(format!("http://127.0.0.1:2355{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.door.call(request.body(Body::default()).unwrap()).await.unwrap();
        if let Some(name) = response.headers().get("key") {
            return Ok(name.to_str().unwrap().to_owned());
        }
        assert_eq!(response.status(), 200);
        let status = Status::from_header_map(response.headers()).unwrap();
        let details = RpcStatus::decode(status.details()).unwrap().details;
        let info = details
            .iter()
            .find(|any| any.type_url.ends_with("google.rpc.ErrorInfo"))
            .unwrap();
        let info = ErrorInfo::decode(info.value.as_slice()).unwrap();
        for value in info.metadata.values() {
            assert!(status.message().contains(value), "{value:?} is in the text");
        }
        Err((status.code(), info.reason))
    }
}

#[tokio::test]
async fn only_a_good_key_comes_in() {
    let mut house = house("127.0.0.1:2355");
    let bearer = format!("Bearer {}", house.good.text);
    let lower = format!("bearer {}", house.good.text);
    let basic = format!("Basic {}", house.good.text);
    let expired = format!("Bearer {}", house.expired.text);
    let refused = |reason: &str| Err((Code::Unauthenticated, reason.to_owned()));
    let (missing, invalid) = (refused("CREDENTIAL_MISSING"), refused("CREDENTIAL_INVALID"));
    let good = Ok(house.good.id.clone());
    for (headers, expected) in [
        (&[("authorization", bearer.as_str())][..], &good),
        (&[("authorization", &lower)], &good),
        (&[], &missing),
        (&[("authorization", &basic)], &invalid),
        (&[("authorization", &house.good.text.clone())], &invalid),
        (&[("authorization", "Bearer ")], &invalid),
        (&[("authorization", "Bearer bbk_a_b")], &invalid),
        (&[("authorization", &bearer), ("authorization", &bearer)], &invalid),
        (&[("authorization", &expired)], &refused("CREDENTIAL_EXPIRED")),
    ] {
        assert_eq!(&house.check(LIST, headers).await, expected, "{headers:?}");
    }
}

#[tokio::test]
async fn health_needs_no_key_and_reflection_needs_none_on_loopback() {
    let nobody = Ok("nobody".to_owned());
    let missing = Err((Code::Unauthenticated, "CREDENTIAL_MISSING".to_owned()));
    for (listener, path, expected) in [
        ("127.0.0.1:2355", CHECK, &nobody),
        ("127.0.0.1:2355", REFLECT, &nobody),
        ("127.0.0.1:2355", LIST, &missing),
        ("127.0.0.1:2355", "/", &missing),
        ("127.0.0.1:2355", "/grpc.health.v1.HealthLike/Check", &missing),
        ("0.0.0.0:2355", CHECK, &nobody),
        ("0.0.0.0:2355", REFLECT, &missing),
    ] {
        assert_eq!(
            &house(listener).check(path, &[]).await,
            expected,
            "{path} at {listener}"
        );
    }
}

#[tokio::test]
async fn a_web_page_of_another_site_gets_nothing_whatever_it_brings() {
    let mut house = house("127.0.0.1:2355");
    let bearer = format!("Bearer {}", house.good.text);
    let key = ("authorization", bearer.as_str());
    let refused = |reason: &str| Err((Code::PermissionDenied, reason.to_owned()));
    for path in [LIST, CHECK, REFLECT] {
        let host = house.check(path, &[key, ("host", "evil.com")]).await;
        assert_eq!(host, refused("HOST_REFUSED"), "{path}");
        let origin = house.check(path, &[key, ("origin", "http://evil.com")]).await;
        assert_eq!(origin, refused("ORIGIN_REFUSED"), "{path}");
    }
    let own = house.check(LIST, &[key, ("origin", "http://localhost:2355")]).await;
    assert_eq!(own, Ok(house.good.id.clone()));
}
