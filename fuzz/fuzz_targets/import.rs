#![no_main]

directmessages_fuzz::target!("import");
