//! Several layers as one: what the topmost one that has a name says about it is what counts.
use crate::{
    archive::import::finish,
    error::{ImageError, IoContext},
    layer::{
        chunks,
        pack::{Marks, Packer},
    },
    rootfs::commit::Feeder,
    store::{Lease, Store},
};
use kernel::beneath::Dir;
use std::{io::BufWriter, sync::Arc};

pub(crate) fn merge(store: &Arc<Store>, layers: &[String]) -> Result<Lease, ImageError> {
    let stack = layers
        .iter()
        .rev()
        .map(|l| {
            let path = store.paths.layer(l).join("diff");
            Dir::open(&path).at("open", path)
        })
        .collect::<Result<Vec<Dir>, _>>()?;
    let mut writer = store.layer_writer()?;
    let packed = (|| {
        let out = BufWriter::with_capacity(chunks::CHUNK, Feeder(&mut writer));
        let mut packer = Packer::new(out, Marks::Translate);
        packer.stack(stack)?;
        packer.finish().map(drop)
    })();
    store.adopt(finish(writer, packed)?, None)
}
