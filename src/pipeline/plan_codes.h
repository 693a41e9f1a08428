// What a folder whose linears are codes (export/code_format.h) asks of a plan.
#pragma once

#include "base/status.h"
#include "model/model.h"
#include "pipeline/plan.h"

namespace coldpress {

// Refuses what the recipe's format for codes does not hold, and a head that cannot be quantised,
// naming what works instead. Needs no tensor.
Status check_code_recipe(const Model& model, const Recipe& recipe);

// For a quantised tensor, its type and its size as codes; refuses one that the format does not
// hold. Leaves it as it is where the recipe has no such format.
Status plan_codes(const Recipe& recipe, bool is_stacked, PlannedTensor* t);

}  // namespace coldpress
