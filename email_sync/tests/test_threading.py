"""Threads from the header graph: the same partition in any order of arrival, whatever the headers hold."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from email_sync.parsing.message import parse
from email_sync.threading import MAX_REFERENCES, Links, base_subject, group, links, message_id_key


def mail(own: str, *references: str, reply_to: str = "", subject: str = "x") -> Links:
    """What a message with these headers is tied to, through the parser."""
    lines = [f"Subject: {subject}"]
    if own:
        lines.append(f"Message-ID: <{own}>")
    if references:
        lines.append("References: " + " ".join(f"<{item}>" for item in references))
    if reply_to:
        lines.append(f"In-Reply-To: <{reply_to}>")
    return links(parse("\n".join([*lines, "", "hi"]).encode()))


def partition(messages: Sequence[Links]) -> set[tuple[int, ...]]:
    return {found.members for found in group(messages, {})}


class Store:
    """What the database keeps: keys to threads, merges applied to the oldest."""

    def __init__(self) -> None:
        self.keys: dict[uuid.UUID, int] = {}
        self.thread_of: dict[int, int] = {}
        self._next = itertools.count()

    def add(self, batch: Sequence[tuple[int, Links]]) -> None:
        for found in group([item for _, item in batch], self.keys):
            thread, *merged = sorted(found.threads) or [next(self._next)]
            for kept in (self.keys, self.thread_of):
                for key, value in list(kept.items()):
                    if value in merged:
                        kept[key] = thread  # type: ignore[index]
            self.keys.update(dict.fromkeys(found.keys, thread))
            self.thread_of.update({batch[index][0]: thread for index in found.members})

    def partition(self) -> set[frozenset[int]]:
        threads: dict[int, set[int]] = {}
        for index, thread in self.thread_of.items():
            threads.setdefault(thread, set()).add(index)
        return {frozenset(members) for members in threads.values()}


def test_group_reply_joins_its_parent() -> None:
    assert partition([mail("a"), mail("b", "a"), mail("c")]) == {(0, 1), (2,)}


def test_group_siblings_of_a_missing_parent_stand_together() -> None:
    assert partition([mail("b", "a"), mail("c", "a")]) == {(0, 1)}


def test_group_in_reply_to_counts_where_references_are_missing() -> None:
    assert partition([mail("a"), mail("b", reply_to="a")]) == {(0, 1)}
    assert partition([mail("a"), mail("b", "z", reply_to="a")]) == {(0,), (1,)}


def test_group_equal_subjects_alone_join_nothing() -> None:
    assert partition([mail("a", subject="Re: Invoice"), mail("b", subject="Re: Invoice")]) == {(0,), (1,)}


def test_group_messages_without_any_id_stay_alone() -> None:
    assert partition([mail(""), mail("")]) == {(0,), (1,)}


def test_group_same_id_twice_is_one_thread_and_two_messages() -> None:
    assert partition([mail("a"), mail("a")]) == {(0, 1)}


def test_group_self_reference_and_loop_end() -> None:
    assert partition([mail("a", "a")]) == {(0,)}
    assert partition([mail("a", "b"), mail("b", "a")]) == {(0, 1)}


def test_group_ids_differ_by_case() -> None:
    assert partition([mail("a"), mail("b", "A")]) == {(0,), (1,)}


def test_group_late_parent_names_every_thread_it_joins() -> None:
    left, right = mail("b", "a"), mail("c", "z")
    known = dict.fromkeys(left.keys, "left") | dict.fromkeys(right.keys, "right")
    [found] = group([mail("p", "a", "z")], known)
    assert set(found.threads) == {"left", "right"}
    assert set(found.keys) == {message_id_key(item) for item in "paz"}


def test_group_two_keys_of_one_known_thread_join_its_messages() -> None:
    known = {message_id_key("a"): 1, message_id_key("b"): 1}
    [found] = group([mail("x", "a"), mail("y", "b")], known)
    assert found.members == (0, 1)
    assert found.threads == (1,)


def test_links_of_a_hostile_list_are_bounded_and_keep_both_ends() -> None:
    ids = [f"{n}@x" for n in range(500)]
    keys = mail("own", *ids).keys
    assert len(keys) == MAX_REFERENCES + 1
    assert {message_id_key("own"), message_id_key("0@x"), message_id_key("499@x")} <= set(keys)


def test_message_id_key_ignores_brackets_and_keeps_long_ids_apart() -> None:
    assert message_id_key(" <a@x> ") == message_id_key("a@x")
    assert message_id_key("a" * 5000) != message_id_key("a" * 5001)
    assert message_id_key("\udcf6").int >= 0


ids = st.sampled_from("abcdefgh")
one = st.builds(lambda own, refs: mail(own, *refs), ids | st.just(""), st.lists(ids, max_size=4))
mails = st.lists(one, max_size=12)


@settings(max_examples=300, deadline=None)
@given(messages=mails, data=st.data())
def test_group_any_order_and_any_batches_give_one_partition(messages: list[Links], data: st.DataObject) -> None:
    expected = {frozenset(members) for members in partition(messages)}
    order = data.draw(st.permutations(list(enumerate(messages))))
    store = Store()
    while order:
        size = data.draw(st.integers(1, len(order)))
        store.add(order[:size])
        order = order[size:]
    assert store.partition() == expected


@settings(max_examples=100, deadline=None)
@given(messages=mails)
def test_group_arriving_again_changes_nothing(messages: list[Links]) -> None:
    store = Store()
    store.add(list(enumerate(messages)))
    before = store.partition()
    known = [index for index, message in enumerate(messages) if message.keys]
    store.add([(index, messages[index]) for index in known])
    assert store.partition() == before


@pytest.mark.parametrize(
    ("subject", "base"),
    [
        ("Re: Lunch", "Lunch"),
        ("RE:Re: re[3]: Fwd: Lunch", "Lunch"),
        ("AW: WG: Mittag", "Mittag"),
        ("SV: VS: Antw: Odp: RES: x", "x"),
        ("回复：会议", "会议"),
        ("Re: [list] Topic", "[list] Topic"),
        ("Lunch (fwd)", "Lunch"),
        ("Regarding lunch", "Regarding lunch"),
        ("  a \t b ", "a b"),
        ("Re:", ""),
        ("", ""),
    ],
)
def test_base_subject_drops_the_marks_of_replies(subject: str, base: str) -> None:
    assert base_subject(subject) == base


def test_base_subject_of_endless_prefixes_is_linear() -> None:
    assert base_subject("Re: " * 100_000) == ""
