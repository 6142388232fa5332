#![no_main]

directmessages_fuzz::target!("page_cursor");
