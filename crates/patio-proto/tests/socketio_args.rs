//! Reading arguments: tuples, missing and extra ones, binary, and values that JSON cannot say.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use patio_proto::{
    payload::{ArgsError, Payload},
    value::{Object, Value},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_bytes::ByteBuf;

/// Reads `values` as the arguments of an event: out of JSON, and behind an attachment out of values, with one outcome.
fn read<T: DeserializeOwned + PartialEq + std::fmt::Debug>(values: &[Value]) -> Result<T, ArgsError> {
    let event = |head: &[Value]| Payload::value(&Value::Array([head, values].concat())).unwrap();
    let plain: Result<T, _> = event(&["event".into()]).read_args(1);
    let binary = event(&["event".into(), Value::Binary(Bytes::from_static(b"first"))]).read_args(2);
    match (&plain, &binary) {
        (Ok(plain), Ok(binary)) => assert_eq!(plain, binary),
        (Err(plain), Err(binary)) => assert_eq!(plain.index(), binary.index()),
        _ => panic!("{plain:?} {binary:?}"),
    }
    plain
}

fn index<T: DeserializeOwned + PartialEq + std::fmt::Debug>(values: &[Value]) -> usize {
    read::<T>(values).unwrap_err().index().unwrap()
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Point {
    x: i32,
    y: Option<f64>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
enum Shape {
    Empty,
    Circle(u32),
    Line(Point, Point),
    Named { name: String },
}

#[test]
fn one_argument_or_several() {
    let (one, text) = (Value::Int(1), Value::from("two"));
    assert_eq!(read::<u8>(&[one.clone(), text.clone()]).unwrap(), 1);
    assert_eq!(read::<(u8,)>(&[one.clone(), text.clone()]).unwrap(), (1,));
    assert_eq!(read::<(u8, String)>(&[one.clone(), text.clone()]).unwrap(), (1, "two".into()));
    read::<()>(&[one.clone(), text.clone()]).unwrap();
    read::<()>(&[]).unwrap();
    let array = Value::Array(vec![one.clone(), one.clone()]);
    assert_eq!(read::<[u8; 2]>(std::slice::from_ref(&array)).unwrap(), [1, 1]);
    assert_eq!(read::<Vec<u8>>(&[array.clone(), text.clone()]).unwrap(), [1, 1]);
    assert_eq!(read::<((u8, u8), String)>(&[array.clone(), text.clone()]).unwrap(), ((1, 1), "two".into()));
    assert_eq!(read::<Option<(u8, u8)>>(&[array]).unwrap(), Some((1, 1)));
    assert_eq!(index::<Vec<u8>>(&[one.clone(), one.clone()]), 0);
    assert_eq!(index::<(u8, u8)>(&[one, text]), 1);
}

#[test]
fn missing_arguments() {
    let one = || [Value::Int(1)];
    assert_eq!(read::<(u8, Option<u8>)>(&one()).unwrap(), (1, None));
    assert_eq!(read::<(Option<u8>, Option<u8>, Option<Point>)>(&[]).unwrap(), (None, None, None));
    assert_eq!(read::<Option<u8>>(&[]).unwrap(), None);
    assert_eq!(read::<Option<u8>>(&[Value::Undefined]).unwrap(), None);
    assert_eq!(read::<(u8, ())>(&one()).unwrap(), (1, ()));
    assert_eq!(read::<(u8, Value)>(&one()).unwrap(), (1, Value::Undefined));
    assert_eq!(read::<(u8, Option<Value>)>(&one()).unwrap(), (1, None));
    assert_eq!(read::<Value>(&[]).unwrap(), Value::Undefined);
    assert_eq!(index::<u8>(&[]), 0);
    assert_eq!(index::<(u8, u8)>(&one()), 1);
    assert_eq!(index::<(u8, Option<u8>, Vec<u8>)>(&one()), 2);
    assert_eq!(index::<(u8, Point)>(&one()), 1);
    let missing = read::<(u8, String)>(&one()).unwrap_err();
    assert_eq!((missing.to_string().as_str(), missing.is_missing()), ("argument 1 is missing", true));
    let wrong = read::<(u8, String)>(&[Value::Int(1), Value::Int(2)]).unwrap_err().to_string();
    assert!(wrong.starts_with("argument 1: invalid type: integer `2`, expected a string"), "{wrong}");
    // not an event at all
    assert_eq!(Payload::empty().read_args::<Option<u8>>(1).unwrap(), None);
    assert_eq!(Payload::empty().read_args::<(Option<u8>,)>(0).unwrap(), (None,));
    assert!(Payload::value(&1).unwrap().read_args::<u8>(0).is_err());
    assert_eq!(Payload::value(&1).unwrap().read_value::<u8>().unwrap(), 1);
}

#[test]
fn types_of_users() {
    let point = Object::from([("x", Value::Int(1)), ("y", Value::Float(0.5)), ("z", Value::Null)]);
    assert_eq!(read::<Point>(&[point.into()]).unwrap(), Point { x: 1, y: Some(0.5) });
    let values = (
        Shape::Empty,
        Shape::Circle(1),
        Shape::Line(Point { x: 1, y: None }, Point { x: 2, y: Some(2.0) }),
        Shape::Named { name: "n".into() },
        BTreeMap::from([(1, 'a'), (2, 'b')]),
    );
    let payload = Payload::event("e", &values).unwrap();
    assert_eq!(payload.read_args::<(Shape, Shape, Shape, Shape, BTreeMap<i32, char>)>(1).unwrap(), values);
    let parsed = Payload::value(&payload.to_value().unwrap()).unwrap();
    let shapes = (&values.0, &values.1, &values.2, &values.3);
    let read: (Shape, Shape, Shape, Shape) = parsed.read_args(1).unwrap();
    assert_eq!((&read.0, &read.1, &read.2, &read.3), shapes);
    let of_value: Vec<Shape> =
        payload.values().unwrap()[1..5].iter().map(|value| value.clone().read().unwrap()).collect();
    assert_eq!(of_value.iter().collect::<Vec<_>>(), [shapes.0, shapes.1, shapes.2, shapes.3]);
}

#[test]
fn binary_in_any_type() {
    #[derive(Debug, Deserialize, PartialEq, Serialize)]
    struct File {
        name: String,
        content: Bytes,
        parts: Vec<ByteBuf>,
        meta: HashMap<String, Value>,
    }
    let bytes = Bytes::from_static(b"\0\xff");
    let file = File {
        name: "f".into(),
        content: bytes.clone(),
        parts: vec![ByteBuf::from(b"a"), ByteBuf::new()],
        meta: HashMap::from([("b".into(), Value::Array(vec![Value::Binary(bytes.clone()), Value::Int(1)]))]),
    };
    let payload = Payload::event("e", &(&file, &bytes)).unwrap();
    assert_eq!(payload.attachments().len(), 5);
    let (read, raw, missing): (File, Bytes, Option<Bytes>) = payload.read_args(1).unwrap();
    assert_eq!((read, raw, missing), (file, bytes.clone(), None));
    assert_eq!(payload.read_args::<(Value, ByteBuf)>(1).unwrap().1, b"\0\xff");
    assert_eq!(payload.read_args::<(serde::de::IgnoredAny, u8)>(1).unwrap_err().index(), Some(1));
    let ack = Payload::args(&bytes).unwrap();
    assert_eq!(ack.read_args::<Bytes>(0).unwrap(), bytes);
    assert_eq!(ack.values().unwrap(), [Value::Binary(bytes)]);
}

#[test]
fn what_serde_lacks_stays_in_values() {
    let value = Value::Array(vec![
        Value::Undefined,
        Value::Date(7),
        Value::Object(Object::from([("d", Value::Date(8)), ("u", Value::Undefined)])),
    ]);
    assert_eq!(value.clone().read::<Value>().unwrap(), value);
    assert_eq!(value.clone().read::<Vec<Value>>().unwrap(), value.as_array().unwrap());
    assert_eq!(
        value.clone().read::<(Option<u8>, String, HashMap<String, Value>)>().unwrap().1,
        "1970-01-01T00:00:00.007Z"
    );
    // a peer cannot make them up
    let json: Value = serde_json::from_str(r#"{"$patio::Value":{"1":5}}"#).unwrap();
    assert!(json.as_object().is_some());
    // through JSON
    let payload = Payload::value(&value).unwrap();
    assert_eq!(
        format!("{payload:?}"),
        r#"[null,"1970-01-01T00:00:00.007Z",{"d":"1970-01-01T00:00:00.008Z"}]"#
    );
    assert_eq!(format!("{:?}", Payload::value(&Value::Date(i64::MAX)).unwrap()), "null");
}

#[test]
fn values_are_easy_to_look_into() {
    let payload =
        Payload::event("e", &serde_json::json!({"a": [1, 2.0, -3, 1.5, u64::MAX], "s": "t", "b": true}))
            .unwrap();
    let value = &payload.values().unwrap()[1];
    assert_eq!(value["a"][0].as_u64(), Some(1));
    assert_eq!(value["a"][1].as_i64(), Some(2));
    assert_eq!((value["a"][2].as_i64(), value["a"][2].as_u64()), (Some(-3), None));
    assert_eq!((value["a"][3].as_f64(), value["a"][3].as_i64()), (Some(1.5), None));
    assert_eq!((value["a"][4].as_u64(), value["a"][4].as_i64()), (Some(u64::MAX), None));
    assert_eq!((value["s"].as_str(), value["b"].as_bool()), (Some("t"), Some(true)));
    assert_eq!(value["none"]["of"][7], Value::Undefined);
    assert!(value["none"].is_nullish() && !value.has_binary());
    let double = Value::Float(2.0);
    assert_eq!((double.clone().read::<u8>().unwrap(), double.read::<f32>().unwrap()), (2, 2.0));
    assert!(Value::Float(2.5).read::<u8>().is_err() && Value::Int(256).read::<u8>().is_err());
}
