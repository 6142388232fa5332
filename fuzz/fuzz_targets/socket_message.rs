#![no_main]

directmessages_fuzz::target!("socket_message");
