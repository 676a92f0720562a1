//! Bodies of polling requests and responses: several packets in one text.
