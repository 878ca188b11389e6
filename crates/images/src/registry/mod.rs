//! (being built)
pub(crate) mod pull { use crate::{store::Store,*}; use std::sync::Arc;
 pub(crate) async fn pull(_s:&Arc<Store>,_r:Reference,_p:Option<Platform>,_c:Credentials,_g:ProgressSink)->Result<Arc<Image>,ImageError>{Err(ImageError::Cancelled)}
 pub(crate) async fn pull_all(_s:&Arc<Store>,_r:Reference,_p:Option<Platform>,_c:Credentials,_g:ProgressSink)->Result<Vec<Arc<Image>>,ImageError>{Err(ImageError::Cancelled)} }
pub(crate) mod push { use crate::{store::Store,*}; use std::sync::Arc;
 pub(crate) async fn push(_s:&Arc<Store>,_r:Reference,_c:Credentials,_g:ProgressSink)->Result<String,ImageError>{Err(ImageError::Cancelled)} }
pub(crate) async fn distribution(_r:crate::Reference,_c:crate::Credentials)->Result<crate::DistributionInfo,crate::ImageError>{Err(crate::ImageError::Cancelled)}
pub(crate) async fn login(_r:&str,_c:crate::Credentials)->Result<(),crate::ImageError>{Err(crate::ImageError::Cancelled)}
