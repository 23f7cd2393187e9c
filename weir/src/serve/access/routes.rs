//! Which key opens which route: the one table of it. What is not in it is closed to everybody, so a new route
//! does nothing until somebody has decided who may call it. docs/access.md shows the same table, and the tests
//! go through that one row by row.

use http::Method;
use weir_catalog::Scope;

/// What a caller needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing: it tells nothing about anybody's data.
    Nothing,
    /// Any key that is in force.
    AnyKey,
    /// A key of a namespace with this scope.
    Scope(Scope),
    /// A key that may manage keys: with `admin` those of its namespace, an operator's all.
    Keys,
}

#[derive(Debug)]
pub(super) struct Route {
    /// None is every method: what speaks gRPC looks at it by itself.
    pub(super) method: Option<Method>,
    /// As the router writes it.
    pub(super) path: &'static str,
    pub(super) needs: Needs,
}

const fn route(method: Method, path: &'static str, needs: Needs) -> Route {
    Route { method: Some(method), path, needs }
}

const fn service(path: &'static str, needs: Needs) -> Route {
    Route { method: None, path, needs }
}

const INGEST: Needs = Needs::Scope(Scope::Ingest);
const QUERY: Needs = Needs::Scope(Scope::Query);
const ADMIN: Needs = Needs::Scope(Scope::Admin);

pub(super) const ROUTES: &[Route] = &[
    route(Method::GET, "/healthz/live", Needs::Nothing),
    route(Method::GET, "/healthz/ready", Needs::Nothing),
    route(Method::GET, "/version", Needs::Nothing),
    route(Method::POST, "/api/v1/events", INGEST),
    route(Method::GET, "/api/v1/events", QUERY),
    route(Method::GET, "/api/v1/meters", QUERY),
    route(Method::POST, "/api/v1/meters", ADMIN),
    route(Method::GET, "/api/v1/meters/{meter}", QUERY),
    route(Method::PUT, "/api/v1/meters/{meter}", ADMIN),
    route(Method::DELETE, "/api/v1/meters/{meter}", ADMIN),
    route(Method::GET, "/api/v1/meters/{meter}/query", QUERY),
    route(Method::POST, "/api/v1/meters/{meter}/query", QUERY),
    route(Method::GET, "/api/v1/position", QUERY),
    route(Method::GET, "/api/v1/info/progress/{meter}", QUERY),
    route(Method::GET, "/api/v1/keys", Needs::Keys),
    route(Method::POST, "/api/v1/keys", Needs::Keys),
    route(Method::POST, "/api/v1/keys/{key}/roll", Needs::Keys),
    route(Method::DELETE, "/api/v1/keys/{key}", Needs::Keys),
    service("/weir.v1.IngestService/{*rest}", INGEST),
    service("/grpc.health.v1.Health/{*rest}", Needs::Nothing),
    service("/grpc.reflection.v1.ServerReflection/{*rest}", Needs::AnyKey),
    service("/grpc.reflection.v1alpha.ServerReflection/{*rest}", Needs::AnyKey),
];

/// What the table says of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Needs(Needs),
    /// The path is there with other methods only, which are these.
    Methods(String),
    /// Nobody has decided who may call it.
    Nobody,
}

/// Looks a route up, by its path as the router writes it.
pub(super) fn find(method: &Method, path: &str) -> Found {
    // Who may GET may ask for the head of it; the router answers both.
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let of_path = || ROUTES.iter().filter(|route| route.path == path);
    if let Some(route) = of_path().find(|route| route.method.as_ref().is_none_or(|known| known == method)) {
        return Found::Needs(route.needs);
    }
    let methods: Vec<&str> = of_path()
        .filter_map(|route| route.method.as_ref())
        .flat_map(|method| if method == Method::GET { vec!["GET", "HEAD"] } else { vec![method.as_str()] })
        .collect();
    if methods.is_empty() { Found::Nobody } else { Found::Methods(methods.join(",")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(needs: Needs) -> &'static str {
        match needs {
            Needs::Nothing => "nothing",
            Needs::AnyKey => "any key",
            Needs::Scope(scope) => scope.name(),
            Needs::Keys => "admin, or an operator's key",
        }
    }

    #[test]
    fn the_table_is_the_one_in_the_documents() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/access.md");
        let text = std::fs::read_to_string(path).unwrap();
        let rows: Vec<&str> = text
            .lines()
            .skip_while(|line| !line.starts_with("| method | route | needs |"))
            .skip(2)
            .take_while(|line| line.starts_with('|'))
            .collect();
        let expected: Vec<String> = ROUTES
            .iter()
            .map(|route| {
                let method = route.method.as_ref().map_or("gRPC", Method::as_str);
                format!("| {method} | `{}` | {} |", route.path, told(route.needs))
            })
            .collect();
        assert_eq!(rows, expected);
    }

    #[test]
    fn what_is_not_there_is_closed() {
        assert_eq!(find(&Method::GET, "/api/v1/meters"), Found::Needs(QUERY));
        assert_eq!(find(&Method::HEAD, "/api/v1/meters"), Found::Needs(QUERY));
        assert_eq!(find(&Method::PATCH, "/api/v1/meters"), Found::Methods("GET,HEAD,POST".to_owned()));
        assert_eq!(find(&Method::GET, "/api/v1/meters/"), Found::Nobody);
        assert_eq!(find(&Method::GET, "/api/v2/anything"), Found::Nobody);
        assert_eq!(find(&Method::DELETE, "/weir.v1.IngestService/{*rest}"), Found::Needs(INGEST));
    }

    #[test]
    fn no_route_is_there_twice() {
        for (index, route) in ROUTES.iter().enumerate() {
            let again =
                ROUTES[index + 1..].iter().any(|o| (&o.method, o.path) == (&route.method, route.path));
            assert!(!again, "{route:?}");
        }
    }
}
