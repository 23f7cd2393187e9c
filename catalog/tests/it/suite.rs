//! What every catalog must do.

pub(crate) mod changes;
pub(crate) mod commits;
pub(crate) mod floors;
pub(crate) mod keys;
pub(crate) mod meters;
pub(crate) mod model;
pub(crate) mod places;
pub(crate) mod swaps;

/// One test per rule and implementation.
macro_rules! for_each_rule {
    ($place:expr) => {
        crate::suite::rules!($place, commits:
            a_flush_is_listed_and_moves_its_frontier,
            a_stale_flush_changes_nothing,
            all_partitions_move_or_none,
            one_of_two_racing_flushes_wins,
            a_closed_writer_commits_nothing,
            an_unknown_writer_is_refused,
            rows_never_overlap,
            windows_overlap_by_generation_and_size,
            all_but_is_resolved_at_its_revision,
            contradictory_commits_are_refused,
            a_segment_is_listed_once,
            a_flush_of_a_newer_revision_is_refused,
            offsets_fit_the_database,
            a_caller_that_gives_up_leaves_one_truth,
        );
        crate::suite::rules!($place, swaps:
            a_swap_puts_segments_in_the_place_of_others,
            a_swap_may_only_add_or_only_remove_caches,
            what_is_not_listed_cannot_be_removed,
            rows_are_swapped_for_the_same_offsets,
            rows_that_are_gone_are_counted,
            swapped_windows_overlap_nothing_that_stays,
            contradictory_swaps_are_refused,
            a_closed_writer_swaps_nothing,
            one_of_two_racing_swaps_wins,
            what_was_replaced_is_forgotten_in_time,
        );
        crate::suite::rules!($place, places:
            the_installation_stays,
            the_first_epoch_stays,
            impossible_epochs_are_refused,
            writers_are_never_used_twice,
            everything_survives_reopening,
            keys_stay_out_of_debug,
        );
        crate::suite::rules!($place, meters:
            a_meter_is_found_by_id_and_slug,
            a_slug_names_one_living_meter,
            a_deleted_meter_is_found_by_its_id,
            revisions_count_every_change,
            namespaces_do_not_meet,
            meters_are_listed_in_order_and_pages,
            a_slug_may_look_like_an_id,
        );
        crate::suite::rules!($place, changes:
            words_change_in_place,
            a_changed_group_by_is_a_new_generation,
            superseded_generations_are_not_listed,
            only_living_meters_change,
            a_meter_is_what_it_was_at_a_revision,
            a_slug_names_what_it_named_at_a_revision,
            a_meter_at_a_revision_stays_in_its_namespace,
        );
        crate::suite::rules!($place, floors:
            a_floor_is_only_raised,
            a_floor_is_a_whole_hour,
            floors_of_namespaces_do_not_meet,
            the_first_note_of_a_wide_meter_stays,
            only_known_generations_are_wide,
        );
        crate::suite::rules!($place, keys:
            keys_are_kept_as_they_were_made,
            keys_of_namespaces_do_not_meet,
            a_rolled_key_ends_and_another_goes_on,
            a_revoked_key_stays_revoked,
            keys_are_listed_in_pages,
            a_table_is_read_again_only_after_a_change,
            wrong_keys_are_refused,
            keys_change_no_number,
        );
    };
}

macro_rules! rules {
    ($place:expr, $subject:ident: $($rule:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $rule() {
                crate::suite::$subject::$rule(&$place).await;
            }
        )+
    };
}

pub(crate) use {for_each_rule, rules};
