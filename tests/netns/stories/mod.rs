//! Stories of the gateway's behaviour on the real kernel.

mod access;
mod buttons;
mod client;
mod cluster;
mod crowd;
mod demo;
mod firewall;
mod first_start;
mod flood;
mod forward;
mod ground;
mod hall;
mod hardship;
mod inventory;
mod ipv6;
mod journal;
mod keep;
mod lease;
mod loaders;
mod loading;
mod names;
mod neighbour;
mod netboot;
mod outputs;
mod power_on;
mod remedies;
mod restart;
mod rogue;
mod roles;
mod routing;
pub mod scale;
mod scene;
mod service;
mod share;
mod shutdown;
mod ssh;
mod status;
mod succession;
mod travel;
mod trouble;
mod uplink;
mod venue;
mod verbs;
mod web;

use bramblegate_lab::Result;

/// A story: builds its own world and returns what failed.
pub type Story = fn() -> Result<()>;

/// All stories, by name.
pub const ALL: &[(&str, Story)] = &[
    // The longest ones start first.
    ("keep::arp_settings_cleared_come_back", keep::arp_settings_cleared_come_back),
    ("demo::runs_to_its_end", demo::runs_to_its_end),
    ("demo::every_key_is_answered_and_proved", demo::every_key_is_answered_and_proved),
    ("service::dnsmasq_killed_fifty_times_comes_back", service::dnsmasq_killed_fifty_times),
    ("netboot::raspberry_pi_boots_from_the_head", netboot::raspberry_pi_boots),
    (
        "forward::laptop_reaches_a_node_through_the_head",
        forward::laptop_reaches_a_node_through_the_head,
    ),
    (
        "routing::rule_that_takes_a_part_is_reported_too",
        routing::rule_that_takes_a_part_is_reported_too,
    ),
    ("service::cluster_that_moves_keeps_host_parts", service::cluster_that_moves_keeps_host_parts),
    ("hardship::stopped_while_it_starts", hardship::stopped_while_it_starts),
    (
        "venue::order_for_the_translator_follows_the_venue",
        venue::order_for_the_translator_follows_the_venue,
    ),
    (
        "venue::translator_that_is_left_over_is_put_right",
        venue::translator_that_is_left_over_is_put_right,
    ),
    (
        "venue::nothing_leaves_by_a_translator_that_has_ended",
        venue::nothing_leaves_by_a_translator_that_has_ended,
    ),
    (
        "venue::nothing_leaves_by_a_translator_that_ended_before",
        venue::nothing_leaves_by_a_translator_that_ended_before,
    ),
    ("hall::nodes_of_ipv4_alone_load_their_page", hall::nodes_of_ipv4_alone_load_their_page),
    (
        "hall::translator_is_off_at_once_when_it_is_not_wanted",
        hall::translator_is_off_at_once_when_it_is_not_wanted,
    ),
    ("hall::address_of_another_host_is_left_to_it", hall::address_of_another_host_is_left_to_it),
    (
        "hall::forwarding_of_the_translator_is_not_taken_for_the_owners",
        hall::forwarding_of_the_translator_is_not_taken_for_the_owners,
    ),
    (
        "travel::a_cable_that_was_out_for_a_moment_loses_nothing",
        travel::a_cable_that_was_out_for_a_moment_loses_nothing,
    ),
    ("travel::a_nodes_session_outlives_the_cable", travel::a_nodes_session_outlives_the_cable),
    ("travel::settings_switch_the_translator", travel::settings_switch_the_translator),
    ("travel::from_the_hall_into_a_home_and_back", travel::from_the_hall_into_a_home_and_back),
    ("outputs::all_show_the_same_in_every_venue", outputs::all_show_the_same_in_every_venue),
    ("neighbour::a_neighbour_gets_in_by_no_address", neighbour::a_neighbour_gets_in_by_no_address),
    (
        "travel::forwarding_is_shared_with_the_nodes_ipv6",
        travel::forwarding_is_shared_with_the_nodes_ipv6,
    ),
    ("travel::mtu_of_the_routes_alone_counts", travel::mtu_of_the_routes_alone_counts),
    (
        "travel::without_bpf_it_follows_the_hall_as_well",
        travel::without_bpf_it_follows_the_hall_as_well,
    ),
    (
        "hall::single_address_is_shared_by_head_and_nodes",
        hall::single_address_is_shared_by_head_and_nodes,
    ),
    ("hall::daemon_dies_and_no_packet_is_lost", hall::daemon_dies_and_no_packet_is_lost),
    (
        "ipv6::nodes_have_addresses_names_and_a_way_out",
        ipv6::nodes_have_addresses_names_and_a_way_out,
    ),
    (
        "ipv6::a_delegated_prefix_is_routed_until_it_is_withdrawn",
        ipv6::a_delegated_prefix_is_routed_until_it_is_withdrawn,
    ),
    (
        "ipv6::a_delegated_prefix_works_by_either_uplink",
        ipv6::a_delegated_prefix_works_by_either_uplink,
    ),
    (
        "ipv6::a_prefix_that_either_of_two_venues_delegated_is_not_used",
        ipv6::a_prefix_that_either_of_two_venues_delegated_is_not_used,
    ),
    (
        "ipv6::nodes_hear_of_the_nat64_only_where_it_is_asked_for",
        ipv6::nodes_hear_of_the_nat64_only_where_it_is_asked_for,
    ),
    (
        "ipv6::a_connection_from_before_the_uplinks_address_goes_on",
        ipv6::a_connection_from_before_the_uplinks_address_goes_on,
    ),
    (
        "ipv6::a_connection_that_outlasts_the_uplinks_address_goes_on",
        ipv6::a_connection_that_outlasts_the_uplinks_address_goes_on,
    ),
    ("ipv6::a_network_of_before_is_withdrawn", ipv6::a_network_of_before_is_withdrawn),
    (
        "ipv6::a_clock_that_is_set_back_ends_no_advertisements",
        ipv6::a_clock_that_is_set_back_ends_no_advertisements,
    ),
    ("ipv6::a_removed_gateway_is_no_router", ipv6::a_removed_gateway_is_no_router),
    ("ipv6::a_network_goes_with_what_announces_it", ipv6::a_network_goes_with_what_announces_it),
    ("ipv6::switched_off_all_is_as_it_was", ipv6::switched_off_all_is_as_it_was),
    (
        "ipv6::on_an_older_kernel_the_head_keeps_its_own_way",
        ipv6::on_an_older_kernel_the_head_keeps_its_own_way,
    ),
    ("ipv6::a_clients_choice_about_routers_stays", ipv6::a_clients_choice_about_routers_stays),
    (
        "ipv6::a_router_among_the_nodes_is_refused_and_reported",
        ipv6::a_router_among_the_nodes_is_refused_and_reported,
    ),
    (
        "web::venue_reaches_the_page_only_where_it_is_allowed",
        web::venue_reaches_the_page_only_where_it_is_allowed,
    ),
    ("web::page_is_at_8080_where_80_is_taken", web::page_is_at_8080_where_80_is_taken),
    ("web::handed_over_socket_is_served", web::handed_over_socket_is_served),
    ("demo::page_is_in_the_machines_browser", demo::page_is_in_the_machines_browser),
    ("demo::ordinary_users_nodes_are_heard", demo::ordinary_users_nodes_are_heard),
    ("ground::world_stands_without_a_gateway", ground::world_stands_without_a_gateway),
    ("ground::lease_changes_reach_the_head", ground::lease_changes_reach_the_head),
    ("ground::interrupted_run_leaves_no_process", ground::interrupted_run_leaves_no_process),
    (
        "uplink::renewal_that_drops_and_re_adds_is_not_seen",
        uplink::renewal_that_drops_and_re_adds_is_not_seen,
    ),
    ("uplink::slow_renewal_is_still_one_renewal", uplink::slow_renewal_is_still_one_renewal),
    (
        "uplink::lost_address_leaves_row_1_within_a_quarter_second",
        uplink::lost_address_leaves_row_1,
    ),
    ("uplink::pulled_cable_is_shown_at_once", uplink::pulled_cable_is_shown_at_once),
    ("uplink::another_venue_needs_no_other_rules", uplink::another_venue_needs_no_other_rules),
    ("uplink::renamed_port_is_still_the_uplink", uplink::renamed_port_is_still_the_uplink),
    (
        "uplink::address_that_is_not_renewed_still_counts",
        uplink::address_that_is_not_renewed_still_counts,
    ),
    ("uplink::port_of_a_bridge_is_reported", uplink::port_of_a_bridge_is_reported),
    ("uplink::failover_forgets_stale_connections", uplink::failover_forgets_stale_connections),
    ("uplink::refused_way_out_is_reported", uplink::refused_way_out_is_reported),
    (
        "uplink::route_of_a_next_hop_object_goes_unsaid_and_is_seen",
        uplink::route_of_a_next_hop_object_goes_unsaid_and_is_seen,
    ),
    (
        "uplink::the_same_address_on_two_uplinks_is_reported",
        uplink::the_same_address_on_two_uplinks_is_reported,
    ),
    (
        "uplink::several_next_hops_in_an_overlap_are_one",
        uplink::several_next_hops_in_an_overlap_are_one,
    ),
    (
        "routing::rule_that_takes_a_part_of_the_nodes_way_out_is_reported",
        routing::rule_that_takes_a_part_of_the_nodes_way_out_is_reported,
    ),
    (
        "routing::way_out_by_other_routes_is_no_missing_router",
        routing::way_out_by_other_routes_is_no_missing_router,
    ),
    ("routing::rules_of_a_vpn_cut_no_node_off", routing::rules_of_a_vpn_cut_no_node_off),
    (
        "routing::peer_of_a_tunnel_reaches_the_uplinks_address",
        routing::peer_of_a_tunnel_reaches_the_uplinks_address,
    ),
    (
        "routing::rule_before_ours_is_reported_with_a_remedy_that_works",
        routing::rule_before_ours_is_reported_with_a_remedy_that_works,
    ),
    (
        "routing::nodes_leave_by_the_uplink_that_has_internet",
        routing::nodes_leave_by_the_uplink_that_has_internet,
    ),
    (
        "routing::overlap_with_the_cluster_port_first_lets_nodes_find_the_uplinks_address",
        routing::overlap_with_the_cluster_port_first_lets_nodes_find_the_uplinks_address,
    ),
    (
        "routing::overlap_with_the_cluster_port_last_lets_nodes_find_the_uplinks_address",
        routing::overlap_with_the_cluster_port_last_lets_nodes_find_the_uplinks_address,
    ),
    (
        "routing::datagrams_older_than_the_rules_are_translated",
        routing::datagrams_older_than_the_rules_are_translated,
    ),
    (
        "forward::forwarded_port_works_from_within_too",
        forward::forwarded_port_works_from_within_too,
    ),
    (
        "forward::forwarded_port_answers_by_the_uplink_that_was_asked",
        forward::forwarded_port_answers_by_the_uplink_that_was_asked,
    ),
    (
        "forward::forward_to_a_dead_node_is_refused_at_once",
        forward::forward_to_a_dead_node_is_refused_at_once,
    ),
    ("uplink::uplink_by_its_hardware_address", uplink::uplink_by_its_hardware_address),
    ("uplink::exit_by_a_tunnel_is_reported", uplink::exit_by_a_tunnel_is_reported),
    (
        "uplink::tunnel_named_as_an_uplink_is_masqueraded",
        uplink::tunnel_named_as_an_uplink_is_masqueraded,
    ),
    (
        "uplink::lease_of_a_nodes_address_moves_the_cluster",
        uplink::lease_of_a_nodes_address_moves_the_cluster,
    ),
    ("uplink::never_answers_arp_for_the_cluster", uplink::never_answers_arp_for_the_cluster),
    ("cluster::port_comes_and_goes", cluster::port_comes_and_goes),
    (
        "cluster::port_comes_and_goes_where_the_venue_overlaps",
        cluster::port_comes_and_goes_where_the_venue_overlaps,
    ),
    ("cluster::lease_of_our_own_address_goes_again", cluster::lease_of_our_own_address_goes_again),
    (
        "roles::port_without_a_role_is_closed_and_named",
        roles::port_without_a_role_is_closed_and_named,
    ),
    ("roles::venues_are_not_led_to_one_another", roles::venues_are_not_led_to_one_another),
    (
        "firewall::protected_table_survives_a_foreign_flush",
        firewall::protected_table_survives_a_foreign_flush,
    ),
    ("firewall::unprotected_table_is_put_back", firewall::unprotected_table_is_put_back),
    ("firewall::forwarding_cleared_comes_back", firewall::forwarding_cleared_comes_back),
    ("firewall::cluster_address_removed_comes_back", firewall::cluster_address_removed_comes_back),
    (
        "firewall::flush_of_the_cluster_port_during_an_overlap",
        firewall::flush_of_the_cluster_port_during_an_overlap,
    ),
    ("firewall::foreign_drop_policy_is_named", firewall::foreign_drop_policy_is_named),
    (
        "keep::foreign_drop_by_a_spare_uplink_is_a_warning",
        keep::foreign_drop_by_a_spare_uplink_is_a_warning,
    ),
    ("firewall::venue_reaches_only_what_is_allowed", firewall::venue_reaches_only_what_is_allowed),
    ("keep::venue_reaches_mdns_and_no_other_udp", keep::venue_reaches_mdns_and_no_other_udp),
    ("keep::sshd_that_moves_is_followed", keep::sshd_that_moves_is_followed),
    ("firewall::venue_does_not_reach_the_nodes", firewall::venue_does_not_reach_the_nodes),
    ("firewall::maximum_segment_size_is_clamped", firewall::maximum_segment_size_is_clamped),
    (
        "firewall::session_open_before_the_start_lives_on",
        firewall::session_open_before_the_start_lives_on,
    ),
    (
        "firewall::other_networks_of_the_head_are_left_alone",
        firewall::other_networks_of_the_head_are_left_alone,
    ),
    (
        "firewall::foreign_table_of_our_name_is_replaced",
        firewall::foreign_table_of_our_name_is_replaced,
    ),
    ("firewall::ipv6_is_not_forwarded", firewall::ipv6_is_not_forwarded),
    (
        "firewall::printed_rule_set_is_what_the_kernel_holds",
        firewall::printed_rule_set_is_what_the_kernel_holds,
    ),
    ("forward::forwarded_port_outlives_the_daemon", forward::forwarded_port_outlives_the_daemon),
    ("forward::forwarded_port_follows_the_node", forward::forwarded_port_follows_the_node),
    (
        "forward::datagrams_go_both_ways_and_follow_the_node",
        forward::datagrams_go_both_ways_and_follow_the_node,
    ),
    ("cluster::replaced_board_is_found_at_once", cluster::replaced_board_is_found_at_once),
    (
        "succession::found_boards_come_into_another_range",
        succession::found_boards_come_into_another_range,
    ),
    (
        "forward::forwarded_port_where_the_venue_routes_our_subnet_works",
        forward::forwarded_port_where_the_venue_routes_our_subnet_works,
    ),
    (
        "forward::forwarded_port_under_an_overlap_is_reported",
        forward::forwarded_port_under_an_overlap_is_reported,
    ),
    (
        "forward::forwarded_port_that_leads_nowhere_is_reported",
        forward::forwarded_port_that_leads_nowhere_is_reported,
    ),
    (
        "rogue::another_server_on_the_cluster_port_is_a_fault",
        rogue::another_server_on_the_cluster_port_is_a_fault,
    ),
    (
        "rogue::swapped_cables_are_certain_when_a_node_is_met_at_the_uplink",
        rogue::swapped_cables_are_certain_when_a_node_is_met_at_the_uplink,
    ),
    ("rogue::restart_asks_without_waiting", rogue::restart_asks_without_waiting),
    ("restart::transfer_survives_kill_and_restart", restart::transfer_survives_kill_and_restart),
    ("restart::second_instance_refuses_and_names_the_first", restart::second_instance_refuses),
    ("restart::second_instance_elsewhere_refuses", restart::second_instance_elsewhere_refuses),
    ("restart::on_stop_keep_leaves_the_nat", restart::on_stop_keep_leaves_the_nat),
    ("restart::on_stop_remove_puts_everything_back", restart::on_stop_remove_puts_everything_back),
    ("restart::nothing_is_left_of_an_overlap", restart::nothing_is_left_of_an_overlap),
    ("restart::off_cleans_up_after_a_dead_daemon", restart::off_cleans_up_after_a_dead_daemon),
    ("restart::reload_takes_new_settings_and_drops_nothing", restart::reload_takes_new_settings),
    (
        "restart::reload_switches_the_gateway_off_and_on",
        restart::reload_switches_the_gateway_off_and_on,
    ),
    ("restart::earlier_cluster_port_makes_no_clash", restart::earlier_cluster_port_makes_no_clash),
    ("restart::disabled_gateway_changes_nothing", restart::disabled_gateway_changes_nothing),
    ("restart::three_capabilities_are_enough", restart::three_capabilities_are_enough),
    ("restart::service_manager_is_notified", restart::service_manager_is_notified),
    (
        "hardship::full_disk_is_reported_and_everything_is_put_back",
        hardship::full_disk_is_reported_and_everything_is_put_back,
    ),
    (
        "hardship::missing_or_read_only_state",
        hardship::missing_or_read_only_state_is_no_reason_to_end,
    ),
    (
        "hardship::socket_that_cannot_be_made_is_exit_71",
        hardship::socket_that_cannot_be_made_is_exit_71,
    ),
    ("hardship::missing_net_raw_is_reported", hardship::missing_net_raw_is_reported),
    ("hardship::panel_in_trouble_delays_nothing", hardship::panel_in_trouble_delays_nothing),
    ("hardship::storms_are_ridden_out", hardship::storms_are_ridden_out),
    ("restart::ready_does_not_wait_for_routes", restart::ready_does_not_wait_for_routes),
    ("journal::changes_are_records_with_fields", journal::changes_are_records_with_fields),
    (
        "access::root_is_led_nowhere_by_the_owner_of_the_folders",
        access::root_is_led_nowhere_by_the_owner_of_the_folders,
    ),
    (
        "access::lock_held_by_another_user_does_not_block_start",
        access::lock_held_by_another_user_does_not_block_start,
    ),
    (
        "access::one_user_does_not_fill_the_status_socket",
        access::one_user_does_not_fill_the_status_socket,
    ),
    (
        "access::forged_record_takes_nothing_of_others_away",
        access::forged_record_takes_nothing_of_others_away,
    ),
    (
        "access::settings_that_never_end_hold_up_nothing",
        access::settings_that_never_end_hold_up_nothing,
    ),
    (
        "buttons::acknowledged_alert_stays_known_across_a_restart",
        buttons::acknowledged_alert_stays_known,
    ),
    ("buttons::next_page_is_there_at_once", buttons::next_page_is_there_at_once),
    (
        "buttons::power_held_leaves_the_order_and_let_go_does_not",
        buttons::power_held_leaves_the_order,
    ),
    ("service::nodes_get_addresses_and_names_at_once", service::nodes_get_addresses_and_names),
    ("service::leases_outlive_restart_kill_and_power_cut", service::leases_outlive_everything),
    ("service::leases_are_heard_of_again_after_a_pause", service::leases_are_heard_of_again),
    (
        "service::a_drop_at_input_is_named_and_its_remedy_helps",
        service::drop_at_input_is_named_and_its_remedy_helps,
    ),
    (
        "service::dnsmasq_that_stands_still_is_named_and_replaced",
        service::dnsmasq_that_stands_still,
    ),
    ("service::what_cannot_be_served_is_an_alert", service::what_cannot_be_served_is_an_alert),
    ("remedies::ways_and_ports_are_put_right", remedies::ways_and_ports_are_put_right),
    ("remedies::ports_of_a_bridge_are_put_right", remedies::ports_of_a_bridge_are_put_right),
    ("remedies::who_has_port_67_is_stopped", remedies::who_has_port_67_is_stopped),
    ("remedies::who_holds_dhcp_back_is_seen", remedies::who_holds_dhcp_back_is_seen),
    (
        "remedies::what_is_advised_to_look_at_shows_rules",
        remedies::what_is_advised_to_look_at_shows_rules,
    ),
    ("service::port_53_taken_leaves_addresses", service::port_53_taken_leaves_addresses),
    ("service::full_disk_is_reported_and_serves_on", service::full_disk_is_reported),
    ("service::names_follow_the_venue", service::names_follow_the_venue),
    ("names::first_come_first_named", names::first_come_first_named),
    ("names::board_at_a_nodes_address_is_that_node", names::board_at_a_nodes_address_is_that_node),
    ("service::missing_dnsmasq_is_named_and_all_else_works", service::missing_dnsmasq_is_named),
    ("trouble::dnsmasq_that_hangs_is_reported", trouble::dnsmasq_that_hangs_is_reported),
    (
        "trouble::dnsmasq_that_dies_again_and_again_is_reported",
        trouble::dnsmasq_that_dies_again_and_again_is_reported,
    ),
    (
        "trouble::full_memory_is_reported_and_got_over",
        trouble::full_memory_is_reported_and_got_over,
    ),
    ("service::three_capabilities_are_enough_to_serve", service::three_capabilities_are_enough),
    (
        "netboot::raspberry_pi_is_known_by_its_identifier",
        netboot::raspberry_pi_is_known_by_its_identifier,
    ),
    ("netboot::uefi_boots_by_tftp_or_http", netboot::uefi_boots_by_tftp_or_http),
    (
        "loaders::each_client_is_offered_what_it_can_start",
        loaders::each_client_is_offered_what_it_can_start,
    ),
    (
        "loading::change_waits_for_a_node_that_is_loading",
        loading::change_waits_for_a_node_that_is_loading,
    ),
    ("netboot::closed_boot_files_are_an_alert", netboot::closed_boot_files_are_an_alert),
    ("netboot::nodes_get_a_time_server", netboot::nodes_get_a_time_server),
    (
        "flood::unknown_clients_fill_nothing_and_disturb_no_node",
        flood::unknown_clients_fill_nothing_and_disturb_no_node,
    ),
    ("crowd::all_ask_for_addresses_at_once", crowd::all_ask_for_addresses_at_once),
    (
        "lease::cluster_that_moves_refuses_the_earlier_subnet",
        lease::cluster_that_moves_refuses_the_earlier_subnet,
    ),
    (
        "lease::address_of_a_silent_node_is_not_given_away",
        lease::address_of_a_silent_node_is_not_given_away,
    ),
    (
        "succession::settings_go_before_everything_that_was_leased",
        succession::settings_go_before_everything_that_was_leased,
    ),
    (
        "succession::found_boards_keep_their_addresses_beyond_their_leases",
        succession::found_boards_keep_their_addresses_beyond_their_leases,
    ),
    ("succession::answers_of_a_portal_end_with_it", succession::answers_of_a_portal_end_with_it),
    ("status::many_clients_are_served", status::many_clients_are_served),
    ("share::disk_comes_fills_and_is_pulled", share::disk_comes_fills_and_is_pulled),
    ("share::nfs_is_for_nodes_alone", share::nfs_is_for_nodes_alone),
    ("status::client_that_never_reads_is_closed", status::client_that_never_reads_is_closed),
    ("status::socket_moves_at_a_reload", status::socket_moves_at_a_reload),
    ("status::changes_arrive_as_lines", status::changes_arrive_as_lines),
    ("scale::four_nodes_are_judged_right", scale::four),
    ("scale::forty_nodes_are_judged_right", scale::forty),
    ("scale::seven_hundred_and_fifty_nodes_are_judged_right", scale::seven_hundred_and_fifty),
    ("scale::ten_thousand_nodes_are_judged_right", scale::ten_thousand),
    ("inventory::static_node_is_found_and_adopted", inventory::static_node_is_found_and_adopted),
    (
        "inventory::two_boards_with_one_address_are_reported",
        inventory::two_boards_with_one_address_are_reported,
    ),
    ("inventory::swapped_boards_are_reported", inventory::swapped_boards_are_reported),
    (
        "inventory::drained_node_raises_no_alarm_and_stays_drained",
        inventory::drained_node_raises_no_alarm_and_stays_drained,
    ),
    (
        "inventory::control_socket_refuses_strangers_and_rubbish",
        inventory::control_socket_refuses_strangers_and_rubbish,
    ),
    ("inventory::changes_at_once_are_all_written", inventory::changes_at_once_are_all_written),
    ("inventory::control_socket_moves_at_a_reload", inventory::control_socket_moves_at_a_reload),
    (
        "power_on::node_that_is_not_back_in_its_usual_time_is_named",
        power_on::node_that_is_not_back_in_its_usual_time_is_named,
    ),
    ("shutdown::laptop_in_the_cluster_is_left_out", shutdown::laptop_in_the_cluster_is_left_out),
    (
        "shutdown::nodes_are_off_and_a_straggler_is_named",
        shutdown::nodes_are_off_and_a_straggler_is_named,
    ),
    (
        "shutdown::four_nodes_take_no_longer_than_the_slowest",
        shutdown::four_nodes_take_no_longer_than_the_slowest,
    ),
    (
        "shutdown::a_key_that_is_not_right_stops_it_before_anything_happens",
        shutdown::a_key_that_is_not_right_stops_it_before_anything_happens,
    ),
    (
        "shutdown::button_leaves_word_of_a_node_that_is_still_up",
        shutdown::button_leaves_word_of_a_node_that_is_still_up,
    ),
    (
        "ssh::ssh_by_name_works_from_the_laptop_and_from_the_head",
        ssh::ssh_by_name_works_from_the_laptop_and_from_the_head,
    ),
    ("status::status_verb_reports_by_its_exit_code", status::status_verb_reports_by_its_exit_code),
    (
        "first_start::a_head_without_settings_only_shows",
        first_start::a_head_without_settings_only_shows,
    ),
    (
        "first_start::a_wrong_boot_file_is_named_and_the_head_only_shows",
        first_start::a_wrong_boot_file_is_named_and_the_head_only_shows,
    ),
    (
        "first_start::settings_that_vanish_stay_in_force",
        first_start::settings_that_vanish_stay_in_force,
    ),
    (
        "first_start::settings_that_were_named_are_missed",
        first_start::settings_that_were_named_are_missed,
    ),
    (
        "verbs::machine_is_looked_at_before_there_are_settings",
        verbs::machine_is_looked_at_before_there_are_settings,
    ),
    (
        "verbs::off_is_roots_and_takes_no_slip_of_the_finger",
        verbs::off_is_roots_and_takes_no_slip_of_the_finger,
    ),
    (
        "verbs::panel_and_frame_are_what_the_display_holds",
        verbs::panel_and_frame_are_what_the_display_holds,
    ),
    (
        "demo::where_namespaces_are_forbidden_it_names_the_remedy",
        demo::where_namespaces_are_forbidden_it_names_the_remedy,
    ),
    (
        "demo::scene_that_cannot_be_played_is_left_out",
        demo::scene_that_cannot_be_played_is_left_out,
    ),
    (
        "demo::ends_early_and_reports_what_was_not_reached",
        demo::ends_early_and_reports_what_was_not_reached,
    ),
    (
        "demo::attach_runs_every_verb_with_the_settings_of_the_demo",
        demo::attach_runs_every_verb_with_the_settings_of_the_demo,
    ),
    (
        "demo::nothing_inside_writes_to_the_machines_etc",
        demo::nothing_inside_writes_to_the_machines_etc,
    ),
    (
        "demo::of_several_demos_each_is_named_and_a_killed_one_is_gone",
        demo::of_several_demos_each_is_named_and_a_killed_one_is_gone,
    ),
    ("demo::loop_starts_the_story_again", demo::loop_starts_the_story_again),
];

/// Runs only on request: its duration comes from the environment.
pub const SOAK: (&str, Story) = ("scale::soak", scale::soak);
