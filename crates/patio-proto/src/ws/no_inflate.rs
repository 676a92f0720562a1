//! What stands for the inflater without the feature `deflate`: there is none, and no message is compressed.

use super::Error;

#[derive(Debug)]
pub(super) enum Inflater {}

impl Inflater {
    pub(super) fn for_message(_compressed: bool) -> Option<Box<Self>> {
        None
    }

    pub(super) fn push(
        &mut self,
        _chunk: &[u8],
        _sink: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        match *self {}
    }

    pub(super) fn finish(&mut self, _sink: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        match *self {}
    }
}
