# --- kernels: every case of every op, and the bench; the host side on other drivers --
foreach(NAME check host_side mutants)
  add_executable(${NAME} ${CMAKE_CURRENT_LIST_DIR}/${NAME}.c)
  target_include_directories(${NAME} PRIVATE ${CMAKE_SOURCE_DIR}/runtime ${CMAKE_SOURCE_DIR}/models ${CMAKE_SOURCE_DIR}/shaders/inc
    ${CMAKE_SOURCE_DIR}/shaders ${VOLK_INCLUDE} ${VULKAN_INCLUDE})
  target_compile_definitions(${NAME} PRIVATE VK_NO_PROTOTYPES _DEFAULT_SOURCE)
  target_link_libraries(${NAME} PRIVATE blemish)
endforeach()
add_test(NAME kernels COMMAND check)
set_tests_properties(kernels PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 2400)

# --- does the self-test notice wrong shaders? scripts/test-all.sh tries all of them ---
if(NOT BLEMISH_SPIRV_DIR AND NOT CMAKE_CROSSCOMPILING)
  add_test(NAME mutants COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/mutants.sh $<TARGET_FILE:mutants> ${CMAKE_SOURCE_DIR}/shaders ${SPIRV_DIR})
  set_tests_properties(mutants PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600 LABELS selftest)
endif()

# --- does a comparison of measurements see a slower kernel, and none where there is none? ---
if(TARGET blemish-cli AND NOT BLEMISH_SPIRV_DIR)
  list(FILTER CLI_SOURCES EXCLUDE REGEX /main\\.c$)
  add_executable(slow_kernel ${CMAKE_CURRENT_LIST_DIR}/slow_kernel.c ${CLI_SOURCES})
  target_include_directories(slow_kernel PRIVATE ${CMAKE_SOURCE_DIR}/runtime ${CMAKE_SOURCE_DIR}/cli ${VOLK_INCLUDE} ${VULKAN_INCLUDE})
  target_include_directories(slow_kernel SYSTEM PRIVATE ${STB_INCLUDE})
  target_compile_definitions(slow_kernel PRIVATE VK_NO_PROTOTYPES)
  target_link_libraries(slow_kernel PRIVATE blemish)
  add_test(NAME slow_kernel COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/slow_kernel.sh $<TARGET_FILE:blemish-cli> $<TARGET_FILE:slow_kernel>
    ${CMAKE_SOURCE_DIR}/shaders ${SPIRV_DIR})
  set_tests_properties(slow_kernel PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
endif()

# --- the rules of the tree; sanitizers add symbols of their own to the library ---
add_test(NAME tree_rules COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/tree_rules.sh ${CMAKE_SOURCE_DIR}
  $<$<NOT:$<BOOL:${BLEMISH_SANITIZE}>>:$<TARGET_FILE:blemish>>)

# --- the command line as tests start it: in a cross build by the emulator ---
set(CLI $<TARGET_FILE:blemish-cli>)
if(CMAKE_CROSSCOMPILING_EMULATOR AND TARGET blemish-cli)
  list(JOIN CMAKE_CROSSCOMPILING_EMULATOR " " EMULATOR)
  set(CLI ${CMAKE_BINARY_DIR}/emulated-blemish)
  file(GENERATE OUTPUT ${CLI} CONTENT "#!/bin/sh\nexec ${EMULATOR} $<TARGET_FILE:blemish-cli> \"$@\"\n"
    FILE_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
endif()

# --- whole models against golden tensors, by the command line ---
if(TARGET blemish-cli)
  foreach(MODEL tiny15 tiny21)
    foreach(WHAT stages runs guided)
      add_test(NAME verify_${WHAT}_${MODEL} COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/verify.sh ${CLI} ${MODEL} ${WHAT})
      set_tests_properties(verify_${WHAT}_${MODEL} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 2400)
    endforeach()
    set_tests_properties(verify_runs_${MODEL} verify_guided_${MODEL} PROPERTIES LABELS long)
  endforeach()
  # the model that is shipped, against what diffusers makes of it (scripts/demo_model/compare.py --keep)
  add_test(NAME verify_demo_model COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/verify.sh ${CLI} ${CMAKE_SOURCE_DIR}/models/demo
    ${CMAKE_CURRENT_LIST_DIR}/data/demo_model.safetensors)
  set_tests_properties(verify_demo_model PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
  # TAESD in its place, against what diffusers makes of it (scripts/taesd-golden.py)
  add_test(NAME verify_taesd COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/verify.sh ${CLI} ${CMAKE_SOURCE_DIR}/models/demo
    ${CMAKE_CURRENT_LIST_DIR}/data/taesd/golden.safetensors --vae ${CMAKE_CURRENT_LIST_DIR}/data/taesd)
  set_tests_properties(verify_taesd PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
  # the CLIP model's two towers and the gradient of the image loss, against transformers (scripts/clip-golden.py)
  add_test(NAME verify_demo_clip COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/verify.sh ${CLI} ${CMAKE_SOURCE_DIR}/models/demo
    ${CMAKE_CURRENT_LIST_DIR}/data/demo_clip.safetensors --clip ${CMAKE_SOURCE_DIR}/models/demo/clip)
  set_tests_properties(verify_demo_clip PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
  # every scheduler on the device, against diffusers (scripts/scheduler-golden.py); the model is there for the form
  add_test(NAME verify_schedulers COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/verify.sh ${CLI} ${CMAKE_SOURCE_DIR}/models/demo
    ${CMAKE_CURRENT_LIST_DIR}/data/schedulers.safetensors)
  set_tests_properties(verify_schedulers PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
  # Every kernel, right as this device computes it: a self-test that accuses one would turn users away. 5: no device.
  add_test(NAME selftest COMMAND ${CLI} selftest --no-cache --progress none)
  set_tests_properties(selftest PROPERTIES SKIP_RETURN_CODE 5 TIMEOUT 1800 LABELS long)
  add_test(NAME make_checkpoint COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/make_checkpoint.sh ${CLI} ${CMAKE_SOURCE_DIR}/scripts)
  set_tests_properties(make_checkpoint PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
endif()
if(NOT BLEMISH_SANITIZE AND NOT CMAKE_CROSSCOMPILING) # they compile, and compare with this machine's layouts
  add_test(NAME abi COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/abi.sh ${CMAKE_BINARY_DIR} ${CMAKE_SOURCE_DIR})
  set_tests_properties(abi PROPERTIES SKIP_RETURN_CODE 77)
endif()
if(NOT BLEMISH_SANITIZE AND NOT CMAKE_CROSSCOMPILING AND TARGET blemish-cli)
  add_test(NAME install COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/install.sh ${CMAKE_BINARY_DIR} ${CMAKE_SOURCE_DIR})
  set_tests_properties(install PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
endif()
add_executable(same_pixels ${CMAKE_CURRENT_LIST_DIR}/same_pixels.c)
target_link_libraries(same_pixels PRIVATE blemish)

# --- fuzz targets: here their corpora with a few mutations of each file; scripts/fuzz.sh runs them under libFuzzer ---
add_custom_target(fuzz)
file(GLOB FUZZ_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/fuzz/*.c)
list(FILTER FUZZ_SOURCES EXCLUDE REGEX /replay\\.c$)
set(COMMANDS ${CLI_SOURCES})
list(FILTER COMMANDS EXCLUDE REGEX /main\\.c$)
foreach(SOURCE IN LISTS FUZZ_SOURCES)
  get_filename_component(FORMAT ${SOURCE} NAME_WE)
  set(NAME fuzz_${FORMAT})
  add_executable(${NAME} ${SOURCE})
  target_include_directories(${NAME} PRIVATE ${CMAKE_SOURCE_DIR}/runtime ${CMAKE_SOURCE_DIR}/models ${CMAKE_SOURCE_DIR}/shaders/inc
    ${CMAKE_SOURCE_DIR}/shaders ${VOLK_INCLUDE} ${VULKAN_INCLUDE})
  target_compile_definitions(${NAME} PRIVATE VK_NO_PROTOTYPES TEST_DATA="${CMAKE_SOURCE_DIR}/tests/data")
  target_link_libraries(${NAME} PRIVATE blemish)
  if(FORMAT STREQUAL options)
    target_sources(${NAME} PRIVATE ${COMMANDS})
    target_include_directories(${NAME} PRIVATE ${CMAKE_SOURCE_DIR}/cli)
    target_include_directories(${NAME} SYSTEM PRIVATE ${STB_INCLUDE})
  endif()
  add_dependencies(fuzz ${NAME})
  if(BLEMISH_FUZZ)
    target_link_options(${NAME} PRIVATE -fsanitize=fuzzer)
  else()
    target_sources(${NAME} PRIVATE ${CMAKE_CURRENT_LIST_DIR}/fuzz/replay.c)
    add_test(NAME ${NAME} COMMAND ${NAME} 500 ${CMAKE_CURRENT_LIST_DIR}/fuzz/corpus/${FORMAT})
  endif()
endforeach()

# --- every tests/test_*.c is one cmocka program ---
find_path(CMOCKA_INCLUDE cmocka.h)
find_library(CMOCKA_LIBRARY cmocka)
if(NOT CMOCKA_INCLUDE OR NOT CMOCKA_LIBRARY)
  message(STATUS "cmocka not found: the tests are not built")
  return()
endif()
set(TEST_TIMEOUT 600)
if(CMAKE_CROSSCOMPILING_EMULATOR)
  set(TEST_TIMEOUT 3600)
endif()
file(GLOB TEST_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/test_*.c)
foreach(SOURCE IN LISTS TEST_SOURCES)
  get_filename_component(NAME ${SOURCE} NAME_WE)
  add_executable(${NAME} ${SOURCE})
  target_include_directories(${NAME} PRIVATE ${CMAKE_SOURCE_DIR}/runtime ${CMAKE_SOURCE_DIR}/models ${CMAKE_SOURCE_DIR}/shaders/inc
    ${CMAKE_SOURCE_DIR}/shaders
    ${CMAKE_SOURCE_DIR}/tests ${CMOCKA_INCLUDE} ${VOLK_INCLUDE} ${VULKAN_INCLUDE})
  target_compile_definitions(${NAME} PRIVATE VK_NO_PROTOTYPES TEST_DATA="${CMAKE_SOURCE_DIR}/tests/data" BLEMISH_SOURCE="${CMAKE_SOURCE_DIR}")
  target_link_libraries(${NAME} PRIVATE blemish ${CMOCKA_LIBRARY})
  add_test(NAME ${NAME} COMMAND ${NAME})
  set_tests_properties(${NAME} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT ${TEST_TIMEOUT})
endforeach()

if(CMAKE_CROSSCOMPILING_EMULATOR)
  target_compile_definitions(test_tokenizer PRIVATE SLOWER=10)
endif()
if(TARGET test_embedding)
  find_package(Threads REQUIRED)
  target_link_libraries(test_embedding PRIVATE Threads::Threads)
endif()

# Many whole generations, each with kernels compiled anew.
foreach(NAME test_defence test_guide test_order test_size)
  set_tests_properties(${NAME} PROPERTIES LABELS long TIMEOUT 1800)
endforeach()

# The command line is tested as built.
foreach(NAME test_cli test_cli_bench test_cli_demo test_cli_doctor test_cli_guided test_cli_model test_cli_sheet test_cli_tune test_hostile)
  if(TARGET ${NAME} AND TARGET blemish-cli)
    target_compile_definitions(${NAME} PRIVATE BLEMISH_CLI="${CLI}")
    add_dependencies(${NAME} blemish-cli)
  endif()
endforeach()

# The command line in a process whose driver misbehaves.
if(TARGET test_defence)
  list(FILTER CLI_SOURCES EXCLUDE REGEX /main\\.c$)
  target_sources(test_defence PRIVATE ${CLI_SOURCES})
  target_include_directories(test_defence PRIVATE ${CMAKE_SOURCE_DIR}/cli)
  target_include_directories(test_defence SYSTEM PRIVATE ${STB_INCLUDE})
endif()
