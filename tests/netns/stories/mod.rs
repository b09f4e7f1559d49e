//! Stories of the gateway's behaviour on the real kernel.

mod cluster;
mod firewall;
mod ground;
mod hardship;
mod journal;
mod restart;
mod scene;
mod status;
mod uplink;

use bramblegate::venue::Result;

/// A story: builds its own world and says what was not as it should be.
pub type Story = fn() -> Result<()>;

/// All stories, by name.
pub const ALL: &[(&str, Story)] = &[
    ("ground::world_stands_without_a_gateway", ground::world_stands_without_a_gateway),
    ("ground::lease_changes_reach_the_head", ground::lease_changes_reach_the_head),
    ("uplink::renewal_that_drops_and_re_adds_is_not_seen", uplink::renewal_that_drops_and_re_adds_is_not_seen),
    ("uplink::slow_renewal_is_still_one_renewal", uplink::slow_renewal_is_still_one_renewal),
    ("uplink::lost_address_leaves_row_1_within_a_quarter_second", uplink::lost_address_leaves_row_1),
    ("uplink::pulled_cable_is_shown_at_once", uplink::pulled_cable_is_shown_at_once),
    ("uplink::another_venue_needs_no_other_rules", uplink::another_venue_needs_no_other_rules),
    ("uplink::renamed_port_is_still_the_uplink", uplink::renamed_port_is_still_the_uplink),
    ("uplink::port_of_a_bridge_is_said", uplink::port_of_a_bridge_is_said),
    ("uplink::failover_forgets_stale_connections", uplink::failover_forgets_stale_connections),
    ("uplink::exit_by_a_tunnel_is_said", uplink::exit_by_a_tunnel_is_said),
    ("uplink::tunnel_named_as_an_uplink_is_masqueraded", uplink::tunnel_named_as_an_uplink_is_masqueraded),
    ("uplink::lease_of_a_nodes_address_moves_the_cluster", uplink::lease_of_a_nodes_address_moves_the_cluster),
    ("uplink::never_answers_arp_for_the_cluster", uplink::never_answers_arp_for_the_cluster),
    ("cluster::port_comes_and_goes", cluster::port_comes_and_goes),
    ("cluster::port_comes_and_goes_where_the_venue_overlaps", cluster::port_comes_and_goes_where_the_venue_overlaps),
    ("cluster::lease_of_our_own_address_goes_again", cluster::lease_of_our_own_address_goes_again),
    ("firewall::protected_table_survives_a_foreign_flush", firewall::protected_table_survives_a_foreign_flush),
    ("firewall::unprotected_table_is_put_back", firewall::unprotected_table_is_put_back),
    ("firewall::forwarding_cleared_comes_back", firewall::forwarding_cleared_comes_back),
    ("firewall::cluster_address_removed_comes_back", firewall::cluster_address_removed_comes_back),
    ("firewall::foreign_drop_policy_is_named", firewall::foreign_drop_policy_is_named),
    ("firewall::venue_reaches_only_what_is_allowed", firewall::venue_reaches_only_what_is_allowed),
    ("firewall::venue_does_not_reach_the_nodes", firewall::venue_does_not_reach_the_nodes),
    ("firewall::maximum_segment_size_is_clamped", firewall::maximum_segment_size_is_clamped),
    ("firewall::session_open_before_the_start_lives_on", firewall::session_open_before_the_start_lives_on),
    ("firewall::other_networks_of_the_head_are_left_alone", firewall::other_networks_of_the_head_are_left_alone),
    ("firewall::foreign_table_of_our_name_is_replaced", firewall::foreign_table_of_our_name_is_replaced),
    ("firewall::ipv6_is_not_forwarded", firewall::ipv6_is_not_forwarded),
    ("firewall::printed_rule_set_is_what_the_kernel_holds", firewall::printed_rule_set_is_what_the_kernel_holds),
    ("restart::transfer_survives_kill_and_restart", restart::transfer_survives_kill_and_restart),
    ("restart::second_instance_refuses_and_names_the_first", restart::second_instance_refuses),
    ("restart::on_stop_keep_leaves_the_nat", restart::on_stop_keep_leaves_the_nat),
    ("restart::on_stop_remove_puts_everything_back", restart::on_stop_remove_puts_everything_back),
    ("restart::off_cleans_up_after_a_dead_daemon", restart::off_cleans_up_after_a_dead_daemon),
    ("restart::reload_takes_new_settings_and_drops_nothing", restart::reload_takes_new_settings),
    ("restart::reload_switches_the_gateway_off_and_on", restart::reload_switches_the_gateway_off_and_on),
    ("restart::disabled_gateway_changes_nothing", restart::disabled_gateway_changes_nothing),
    ("restart::three_capabilities_are_enough", restart::three_capabilities_are_enough),
    ("restart::service_manager_is_told", restart::service_manager_is_told),
    ("hardship::full_disk_is_said_and_everything_is_put_back", hardship::full_disk_is_said_and_everything_is_put_back),
    ("hardship::missing_or_read_only_state", hardship::missing_or_read_only_state_is_no_reason_to_end),
    ("hardship::socket_that_cannot_be_made_is_exit_71", hardship::socket_that_cannot_be_made_is_exit_71),
    ("hardship::missing_net_raw_is_said", hardship::missing_net_raw_is_said),
    ("hardship::panel_in_trouble_delays_nothing", hardship::panel_in_trouble_delays_nothing),
    ("hardship::storms_are_ridden_out", hardship::storms_are_ridden_out),
    ("hardship::stopped_while_it_starts", hardship::stopped_while_it_starts),
    ("journal::changes_are_records_with_fields", journal::changes_are_records_with_fields),
    ("status::many_clients_are_served", status::many_clients_are_served),
    ("status::client_that_never_reads_is_closed", status::client_that_never_reads_is_closed),
    ("status::changes_arrive_as_lines", status::changes_arrive_as_lines),
    ("status::status_verb_tells_by_its_exit_code", status::status_verb_tells_by_its_exit_code),
];
