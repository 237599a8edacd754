"""Each exercise: the right answer passes, wrong ones get the right diagnosis, the empty template says what to do."""

import pytest
from exercise_solutions import LOOPS, REPAIRS, SOLUTIONS, TAPS, WRONG, filled, repaired

from minisegnet.exercise.catalogue import EXERCISES, ORDER
from minisegnet.exercise.checking import check_file
from minisegnet.exercise.show import result_text

TO_WRITE = [exercise.name for exercise in ORDER if not exercise.is_bug]
BUGS = [exercise.name for exercise in ORDER if exercise.is_bug]


def checked(tmp_path, name, text):
    path = tmp_path / EXERCISES[name].file_name
    path.write_text(text, encoding="utf-8")
    return check_file(path)


def test_every_exercise_has_answers():
    assert sorted(SOLUTIONS) == sorted(WRONG) == sorted(TO_WRITE)
    assert sorted(REPAIRS) == sorted(BUGS)
    assert all(len({mistake for mistake, _ in answers}) >= 3 for answers in WRONG.values())


@pytest.mark.parametrize("name", TO_WRITE)
def test_the_right_answer_passes(name, tmp_path):
    result = checked(tmp_path, name, filled(name, SOLUTIONS[name]))
    assert (result.status, result.message, result.diagnosis, result.notes) == ("right", "", [], [])
    assert result.passed
    assert {part.stage for part in result.parts} >= {"by hand", "many shapes"}
    assert not any(part.failed for part in result.parts)
    text = result_text(result)
    assert "Right!" in text
    assert EXERCISES[name].source in text


@pytest.mark.parametrize(
    ("name", "mistake", "body"),
    [pytest.param(name, mistake, body, id=f"{name}-{mistake}") for name in WRONG for mistake, body in WRONG[name]],
)
def test_a_wrong_answer_gets_its_diagnosis(name, mistake, body, tmp_path):
    result = checked(tmp_path, name, filled(name, body))
    assert result.status == "wrong"
    assert mistake in [entry.id for entry in result.diagnosis]
    assert "other" not in [entry.id for entry in result.diagnosis]
    text = result_text(result)
    assert "Not right yet" in text
    assert "--hint 1" in text


def test_plain_loops_are_right(tmp_path):
    assert checked(tmp_path, "conv2d", filled("conv2d", LOOPS)).passed
    assert checked(tmp_path, "conv2d", filled("conv2d", TAPS)).passed


def test_a_gradient_that_is_wrong_at_once_is_not_said_to_be_wrong_at_the_second_use_only(tmp_path):
    body = LOOPS.replace("self.weight.grad[o, c, r, t] +=", "self.weight.grad[o, c, r, t] =")
    (entry,) = checked(tmp_path, "conv2d", filled("conv2d", body)).diagnosis
    assert (entry.id, entry.of) == ("products-overwrite", "dweight")
    assert entry.text.startswith("each product overwrites the one before: dw[o,c,r,s] is the sum over")


def test_a_buffer_that_is_not_changed_in_place_is_named(tmp_path):
    body = (
        SOLUTIONS["adam"]
        .replace("    m *= beta1\n", "")
        .replace("m += (1 - beta1) * g", "m = beta1 * m + (1 - beta1) * g")
    )
    (entry,) = checked(tmp_path, "adam", filled("adam", body)).diagnosis
    assert entry.text.startswith("m is still 0 after a step: `m = ...` only gives the name to a new array")


def test_a_rotation_too_many_says_when_to_rotate(tmp_path):
    body = SOLUTIONS["conv2d"].replace("d * w[o]", "d * w[o, :, ::-1, ::-1]")
    (entry,) = checked(tmp_path, "conv2d", filled("conv2d", body)).diagnosis
    assert entry.text.endswith(
        "If you stamp (dxp[window] += g * w[o]), the kernel stays upright; if you gather, it is turned"
    )


def test_a_crop_that_begins_too_late_is_not_taken_for_the_shape_of_y(tmp_path):
    body = SOLUTIONS["conv2d"].replace("p : p + x.shape[2], p : p + x.shape[3]", "p + 1 : p + 1 + x.shape[2], p + 1 :")
    (entry,) = checked(tmp_path, "conv2d", filled("conv2d", body)).diagnosis
    assert entry.text == (
        "dx has shape (1, 1, 2, 2), expected (1, 1, 3, 3): 1 row and 1 column short: where does the crop begin, where "
        "does it end?"
    )
    (entry,) = checked(tmp_path, "max-pool", filled("max-pool", "return dy")).diagnosis
    assert entry.text.endswith(": that is the shape of y, but dx has the shape of x")


@pytest.mark.parametrize("name", TO_WRITE)
def test_a_wrong_answer_gets_no_diagnosis_too_many(name, tmp_path):
    """Where one result is wrong, at most one mistake is named for it."""
    mistake, body = WRONG[name][0]
    result = checked(tmp_path, name, filled(name, body))
    named = [entry.of for entry in result.diagnosis]
    assert len(named) == len(set(named)), result.diagnosis


@pytest.mark.parametrize("name", TO_WRITE)
def test_the_empty_template_says_what_to_do_next(name, tmp_path):
    exercise = EXERCISES[name]
    result = checked(tmp_path, name, exercise.template.read_text(encoding="utf-8"))
    assert result.status == "empty"
    assert not result.passed
    text = " ".join(result_text(result).split())
    assert "Not filled in yet" in text
    assert f"Begin here: {exercise.first}" in text
    assert f"minisegnet exercise check {result.file} --hint 1" in text


# ------------------------------------------------------------------ the gallery


@pytest.mark.parametrize("name", BUGS)
def test_an_untouched_bug_fails_and_is_not_given_away(name, tmp_path):
    result = checked(tmp_path, name, EXERCISES[name].template.read_text(encoding="utf-8"))
    assert result.status == "wrong"
    assert result.as_found
    assert [entry.id for entry in result.diagnosis] == ["bug-still-there"]
    text = result_text(result)
    assert "The bug is still in it" in text
    assert "By hand:" in text
    assert "[" in text  # what is wrong is marked
    assert "Likely" not in text
    assert EXERCISES[name].story.text[:40] not in " ".join(text.split())


@pytest.mark.parametrize("name", BUGS)
def test_a_repaired_bug_passes_and_tells_its_story(name, tmp_path):
    result = checked(tmp_path, name, repaired(name))
    assert (result.status, result.message, result.diagnosis) == ("right", "", [])
    text = " ".join(result_text(result).split())
    assert "Repaired." in text
    assert EXERCISES[name].story.text in text
    assert all(source in text for source in EXERCISES[name].story.sources)


def test_a_bug_that_became_another_one_is_diagnosed(tmp_path):
    text = repaired("bug-dice-quotient").replace("return -dvalue * dquotient", "return dvalue * dquotient")
    result = checked(tmp_path, "bug-dice-quotient", text)
    assert not result.as_found
    assert [entry.id for entry in result.diagnosis] == ["wrong-sign"]
    assert "Not right yet" in result_text(result)
