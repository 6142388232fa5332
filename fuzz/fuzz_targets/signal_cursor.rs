#![no_main]

directmessages_fuzz::target!("signal_cursor");
