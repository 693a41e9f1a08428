#include "grid/vector_fit.h"

#include <algorithm>
#include <cmath>

#include "grid/fit.h"

namespace coldpress {
namespace {

// Largest weight over largest level, of the scales that are tried first: each 7 % below the one
// before. Then around the best of them.
constexpr float kLargestUnitRatio = 1.25F;
constexpr float kNextRatio = 0.93F;
constexpr float kWholeRangeStep = 0.01F;
constexpr float kFineStep = 0.01F;
constexpr int kFineRounds = 1;

int64_t least(Lanes values) {
  int64_t best = 0;
  for (int64_t i = 1; i < kLanes; ++i) {
    if (values[i] < values[best]) best = i;
  }
  return best;
}

}  // namespace

VectorFitter::VectorFitter(const Codebook& book, int64_t group)
    : book_(book), root_(static_cast<std::size_t>(group)), target_(root_) {
  COLDPRESS_CHECK(group % Codebook::kUnit == 0);
}

// False for a group of zeros.
bool VectorFitter::take(const float* w, const float* h) {
  float heaviest = 0;
  widest_ = 0;
  for (std::size_t j = 0; j < root_.size(); ++j) {
    heaviest = std::max(heaviest, h[j]);
    widest_ = std::max(widest_, std::abs(w[j]));
  }
  if (!is_usable_scale(widest_)) return false;
  for (std::size_t j = 0; j < root_.size(); ++j) {
    root_[j] = heaviest > 0 ? std::max(kLeastRoot, std::sqrt(h[j] / heaviest)) : 1.0F;
    target_[j] = w[j] / widest_ * root_[j];
  }
  return true;
}

VectorFitter::Trial VectorFitter::attempt(Lanes scale) const {
  Lanes product{};
  Lanes energy{};
  float whole = 0;
  for (std::size_t first = 0; first < root_.size(); first += Codebook::kUnit) {
    Codebook::Unit target;
    Codebook::Unit step;
    for (std::size_t j = 0; j < Codebook::kUnit; ++j) {
      target[j] = every_lane(target_[first + j]);
      step[j] = scale * root_[first + j];
      whole += target_[first + j] * target_[first + j];
    }
    Codebook::Unit level;
    book_.nearest(target, step, &level);
    for (std::size_t j = 0; j < Codebook::kUnit; ++j) {
      const Lanes value = level[j] * root_[first + j];
      product += value * target_[first + j];
      energy += value * value;
    }
  }
  const Lanes refined = product / energy;
  return {whole - 2.0F * scale * product + scale * scale * energy, refined,
          whole - product * refined, energy};
}

VectorFitter::Fit VectorFitter::fit(const float* w, const float* h, bool whole_range) {
  if (!take(w, h)) return {};
  const float top = book_.levels().back();
  Lanes scale{};
  float ratio = kLargestUnitRatio;
  for (int64_t i = 0; i < kLanes; ++i) {
    scale[i] = (whole_range ? 1.0F + kWholeRangeStep * static_cast<float>(i) : ratio) / top;
    ratio *= kNextRatio;
  }
  Fit best;
  float error = HUGE_VALF;
  for (int round = 0; round <= (whole_range ? 0 : kFineRounds); ++round) {
    const Trial trial = attempt(scale);
    // Only a scale above 0 can be stored.
    const int64_t i = least(trial.refined > Lanes{} ? trial.refined_error : every_lane(HUGE_VALF));
    if (!(trial.refined_error[i] < error) || !(trial.refined[i] > 0)) break;
    error = trial.refined_error[i];
    best = {trial.refined[i] * widest_, trial.energy[i]};
    for (int64_t k = 0; k < kLanes; ++k) {
      scale[k] = trial.refined[i] * (1.0F + kFineStep * static_cast<float>(k - kLanes / 2));
    }
  }
  if (!is_usable_scale(best.scale)) return {};
  return best;
}

float VectorFitter::best_multiple(const ScaleRule& rule, float unit, const float* w,
                                  const float* h) {
  if (!take(w, h)) return storable_scale(rule, unit, 0.0F);
  float best = storable_scale(rule, unit, unit);
  float error = HUGE_VALF;
  for (int first = rule.lo; first <= rule.hi; first += rule.step * static_cast<int>(kLanes)) {
    Lanes multiple{};
    for (int i = 0; i < kLanes; ++i) {
      multiple[i] = unit * static_cast<float>(std::min(first + i * rule.step, rule.hi));
    }
    const Lanes errors = attempt(multiple / widest_).error;
    const int64_t i = least(errors);
    if (!(errors[i] < error)) continue;
    error = errors[i];
    best = multiple[i];
  }
  return best;
}

}  // namespace coldpress
