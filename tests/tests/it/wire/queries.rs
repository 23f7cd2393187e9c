//! Queries over HTTP: the shape of answers, the rules of parameters, CSV.

use weir_tests::http::JSON;
use weir_tests::reference::json::Json;

use super::{event, fresh, value};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_have_the_contracts_shape() {
    let fresh = fresh();
    fresh.meter("SUM").await;
    fresh.api.ingest(&[event("1", "2013-03-10T12:34:56.7Z", r#"{"value":"1.50","model":"m"}"#)]).await;
    let query = "/api/v1/meters/sum/query";

    let plain = &fresh.rows(query).await[0];
    assert_eq!(value(plain), "1.5");
    assert_eq!(plain.get("subject"), Some(&Json::Null));
    assert_eq!(plain.get("groupBy"), Some(&Json::parse("{}")));
    assert_eq!(plain.text("windowStart"), "2013-03-10T12:34:00Z");
    assert_eq!(plain.text("windowEnd"), "2013-03-10T12:35:00Z");

    // A filter on subjects groups by them.
    let by_subject = &fresh.rows(&format!("{query}?subject=acme&subject=nobody")).await[0];
    assert_eq!(by_subject.text("subject"), "acme");
    assert!(fresh.rows(&format!("{query}?subject=nobody")).await.is_empty());
    let both = &fresh.rows(&format!("{query}?groupBy=model&groupBy=subject")).await[0];
    assert_eq!(both.text("subject"), "acme");
    assert_eq!(both.get("groupBy"), Some(&Json::parse(r#"{"model":"m"}"#)));

    // Windows are whole, in the zone that was asked for, also when they are cut by from and to.
    let bounds = "from=2013-03-10T12:00:30Z&to=2013-03-10T13:00:00Z";
    let path = format!("{query}?{bounds}&windowSize=DAY&windowTimeZone=America/New_York");
    let day = &fresh.rows(&path).await[0];
    assert_eq!(day.text("windowStart"), "2013-03-10T00:00:00-05:00");
    assert_eq!(day.text("windowEnd"), "2013-03-11T00:00:00-04:00");
    let total = &fresh.rows(&format!("{query}?{bounds}")).await[0];
    assert_eq!(total.text("windowStart"), "2013-03-10T12:00:30Z");
    assert_eq!(total.text("windowEnd"), "2013-03-10T13:00:00Z");

    // Both spellings of brackets.
    for filter in ["filterGroupBy[model]=m", "filterGroupBy%5Bmodel%5D=m"] {
        assert_eq!(fresh.rows(&format!("{query}?{filter}")).await.len(), 1, "{filter}");
    }
    assert!(fresh.rows(&format!("{query}?filterGroupBy[model]=other")).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_echo_what_was_asked() {
    let fresh = fresh();
    fresh.meter("COUNT").await;
    let reply = fresh.api.get("/api/v1/meters/count/query").await.expect(200);
    assert!(reply.header("content-type").starts_with("application/json"));
    let answer = reply.json();
    assert!(["from", "to", "windowSize"].iter().all(|key| answer.get(key).is_none()), "{answer:?}");
    let body = r#"{"from":"2026-01-01T00:00:00Z","to":"2026-01-02T00:00:00Z","windowSize":"HOUR"}"#;
    let answer = fresh.api.post("/api/v1/meters/count/query", JSON, body).await.expect(200).json();
    assert_eq!(answer.text("from"), "2026-01-01T00:00:00Z");
    assert_eq!(answer.text("to"), "2026-01-02T00:00:00Z");
    assert_eq!(answer.text("windowSize"), "HOUR");
    assert!(answer.get("data").unwrap().items().is_empty());
    fresh.api.post("/api/v1/meters/count/query", JSON, "{}").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_zero_for_counts_and_no_row_for_the_rest() {
    let fresh = fresh();
    for aggregation in ["SUM", "COUNT", "UNIQUE_COUNT", "AVG", "MIN", "MAX", "LATEST"] {
        fresh.meter(aggregation).await;
        let slug = aggregation.to_lowercase();
        let rows = fresh.rows(&format!("/api/v1/meters/{slug}/query")).await;
        if aggregation.ends_with("COUNT") {
            assert_eq!(rows.len(), 1, "{aggregation}");
            assert_eq!(value(&rows[0]), "0");
            assert_eq!(rows[0].text("windowStart"), "1970-01-01T00:00:00Z");
            assert_eq!(rows[0].text("windowEnd"), "1970-01-01T00:01:00Z");
        } else {
            assert!(rows.is_empty(), "{aggregation}: {rows:?}");
        }
        for rest in ["windowSize=DAY", "groupBy=subject", "groupBy=model", "subject=a"] {
            assert!(fresh.rows(&format!("/api/v1/meters/{slug}/query?{rest}")).await.is_empty(), "{rest}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_keep_every_digit() {
    let fresh = fresh();
    fresh.meter("SUM").await;
    fresh.meter("AVG").await;
    let time = "2026-01-01T00:00:00Z";
    let values =
        ["9007199254740993", "\"0.1\"", "0.2", "1e-30", "123456789012345678901234567890", "1e33", "\" 5\""];
    let events: Vec<String> = values
        .iter()
        .enumerate()
        .map(|(id, value)| event(&id.to_string(), time, &format!(r#"{{"value":{value}}}"#)))
        .collect();
    fresh.api.ingest(&events).await;
    assert_eq!(fresh.total("sum").await, "123456789012354686100489308883.300000000000000000000000000001");
    assert_eq!(fresh.total("avg").await, "24691357802470937220097861780");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn future_events_count_at_once() {
    let fresh = fresh();
    fresh.meter("COUNT").await;
    let soon = chrono::Utc::now() + chrono::Duration::days(30);
    fresh.api.ingest(&[event("1", &soon.to_rfc3339(), "{}"), event("2", "2099-01-01T00:00:00Z", "{}")]).await;
    assert_eq!(fresh.total("count").await, "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_that_break_a_rule_are_refused() {
    let fresh = fresh();
    fresh.meter("SUM").await;
    for bad in [
        "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
        "from=2026-01-01T00:00:00Z&to=2026-01-01T00:00:00Z",
        "from=2026-01-01T00:00:00.1Z&to=2026-01-01T00:00:00.9Z",
        "from=yesterday",
        "windowSize=WEEK",
        "windowSize=day",
        "windowTimeZone=Mars/Olympus",
        "groupBy=unknown",
        "groupBy=customer_id",
        "filterGroupBy[unknown]=x",
        "filterGroupBy[model]=x&advancedMeterGroupByFilters={\"model\":{\"$eq\":\"x\"}}",
        "advancedMeterGroupByFilters={\"unknown\":{\"$eq\":\"x\"}}",
        "advancedMeterGroupByFilters={\"model\":{\"$eq\":\"x\",\"$ne\":\"y\"}}",
        "advancedMeterGroupByFilters={\"model\":{\"$eq\":\"\"}}",
        "advancedMeterGroupByFilters={\"model\":{\"$regex\":\"x\"}}",
        "advancedMeterGroupByFilters=x",
        "clientId=0123456789012345678901234567890123456789",
    ] {
        let reply = fresh.api.get(&format!("/api/v1/meters/sum/query?{bad}")).await;
        assert_eq!(reply.status, 400, "{bad}: {}", reply.body);
        reply.expect_problem(400);
    }
    let detail = fresh.api.get("/api/v1/meters/sum/query?groupBy=unknown").await.expect_problem(400);
    assert!(detail.contains("invalid group by: unknown"), "{detail}");
    fresh.api.post("/api/v1/meters/sum/query", JSON, "{").await.expect_problem(400);
    let deep = format!("{}{{\"$eq\":\"x\"}}{}", "{\"$and\":[".repeat(3_000), "]}".repeat(3_000));
    let body = format!(r#"{{"advancedMeterGroupByFilters":{{"model":{deep}}}}}"#);
    fresh.api.post("/api/v1/meters/sum/query", JSON, body).await.expect_problem(400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn csv_is_an_attachment_with_six_decimals() {
    let fresh = fresh();
    fresh.meter("SUM").await;
    let at = "2026-01-01T00:00:10Z";
    let position = fresh
        .api
        .ingest(&[
            event("1", at, r#"{"value":2,"model":"a,\"b\""}"#),
            event("2", at, r#"{"value":0.1234567,"model":"c"}"#),
        ])
        .await;
    let path = "/api/v1/meters/sum/query?groupBy=model&groupBy=subject";
    let headers = [("accept", "text/csv"), (weir_tests::http::POSITION, position.as_str())];
    let reply = fresh.api.send(reqwest::Method::GET, path, &headers, Vec::new()).await.expect(200);
    assert!(reply.header("content-type").starts_with("text/csv"));
    assert_eq!(reply.header("content-disposition"), "attachment; filename=sum.csv");
    let minute = "2026-01-01T00:00:00Z,2026-01-01T00:01:00Z";
    assert_eq!(
        reply.body.replace("\r\n", "\n"),
        format!(
            "window_start,window_end,subject,model,value\n\
             {minute},acme,\"a,\"\"b\"\"\",2.000000\n{minute},acme,c,0.1234567\n"
        )
    );
    // Anything but exactly that media type is JSON.
    for accept in ["text/csv, application/json", "*/*", "nonsense"] {
        let reply = fresh.api.send(reqwest::Method::GET, path, &[("accept", accept)], Vec::new()).await;
        assert!(reply.expect(200).header("content-type").starts_with("application/json"), "{accept}");
    }
}
